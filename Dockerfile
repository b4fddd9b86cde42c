# cnn-lstm-hyperopt with the CPU build of PyTorch:
#   docker build -t cnn-lstm-hyperopt .
#   docker run --rm -v "$PWD:/work" cnn-lstm-hyperopt run --demo
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN pip install --no-cache-dir build==1.6.1 \
    && python -m build --wheel

FROM python:3.11-slim-bookworm
COPY --from=build /source/dist /tmp/dist
COPY constraints.txt /tmp/constraints.txt
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu 'torch>=2.6,<2.14' \
    && pip install --no-cache-dir -c /tmp/constraints.txt /tmp/dist/*.whl \
    && rm -r /tmp/dist /tmp/constraints.txt \
    && useradd --create-home --uid 1000 user
USER 1000
WORKDIR /work
ENTRYPOINT ["cnn-lstm-hyperopt"]
CMD ["--help"]
