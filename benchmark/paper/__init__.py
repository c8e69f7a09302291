"""The paper's tables, figures and claims, and the files that they speak of."""
