"""kge computes embeddings: a snapshot becomes a bundle, and a bundle becomes an index.

Takes sealed snapshots, gives sealed bundles and indexes; never sees a database, a clock or HTTP.
"""
