"""The starter models: small, trained by `training.starter`, and shipped with the package."""
