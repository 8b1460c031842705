"""The five methods; every one has the same rooms."""
