"""Segue's storage beside plain boto3."""
