//! Byte-level BPE: scan, train, encode, decode, file formats.
