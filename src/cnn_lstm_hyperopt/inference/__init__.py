"""Save and load models; predict, build ensembles, describe models, export models."""
