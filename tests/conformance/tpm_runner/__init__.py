"""Runs named cases of TPM software, each against a TPM of its own. See runner.py."""
