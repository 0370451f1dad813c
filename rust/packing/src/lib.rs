//! Token shards, packing plans, mixtures, permutations and rows.
