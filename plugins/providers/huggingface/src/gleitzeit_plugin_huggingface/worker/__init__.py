"""The process that holds the models. Nothing in here imports Gleitzeit: it runs in any interpreter that has
transformers, and the heavy imports wait for the first model."""
