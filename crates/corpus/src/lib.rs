//! Documents to token files on disk, with a document table, hashes and samplers.
