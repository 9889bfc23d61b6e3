"""Model families, and building, loading and describing models. Importing this room does not import torch."""
