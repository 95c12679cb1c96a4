#![doc = include_str!("../README.md")]

mod build;
mod corpus;
mod document_table;
mod encode;
mod error;
mod json_lines;
mod manifest;
mod map;
mod nano_gpt;
mod near_duplicates;
mod parquet_rows;
mod progress;
mod sha256_hash;
mod source;
mod split;
mod split_writer;
mod subsample;
mod target;
mod text_files;
mod token_file;
mod tokenizer;
mod width;
mod window_sampler;

mod byte;
mod gpt2;
mod json;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod conformance;

pub use build::{BadDocuments, BuildConfig};
pub use corpus::Corpus;
pub use document_table::{Document, DocumentTable, Id};
pub use error::{BadDocument, Error, Fault, Part, Place};
pub use manifest::{Manifest, ReadCounts, SplitSummary};
pub use near_duplicates::{Keep, NearDuplicateReport, NearDuplicates};
pub use progress::{Counts, Progress};
pub use sha256_hash::Sha256Hash;
pub use source::{MAX_DOCUMENT_BYTES, NamedFile, NamedText, Source};
pub use split::{Partition, PartitionedDocuments, Split, SplitRule};
pub use subsample::Subsample;
pub use target::IfExists;
pub use token_file::TokenFile;
pub use tokenizer::{LoadTokenizer, Tokenizer, TokenizerIdentity};
pub use window_sampler::{WindowIndex, WindowSampler};

registry::methods! {
    /// Every tokenizer.
    pub enum AnyTokenizer: dyn LoadTokenizer {
        /// Bytes: 256 tokens and a separator.
        byte::Byte = "byte",
        /// GPT-2's byte-pair encoding, embedded: 50,256 tokens and a separator.
        gpt2::Gpt2 = "gpt2",
        /// A Hugging Face `tokenizer.json`, from a file.
        json::Json = "json",
    }
}
