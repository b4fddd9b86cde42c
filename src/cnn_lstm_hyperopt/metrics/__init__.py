"""What a study maximises."""
