//! Which documents are for what, by a seeded hash of their content.
//!
//! # Definition
//! With $u$ the first eight bytes of SHA-256(tag, seed, document id), little-endian, over $2^{64}$, a document
//! belongs to the fraction $f$ if $u < f$. The tag says what is being decided, so that two decisions
//! with one seed are independent. Content decides, not order: a document goes to the same side
//! whatever stands before it, and equal documents never part.

use serde::{Deserialize, Serialize};

use crate::document_table::{DocumentTable, Id};
use crate::{Error, Sha256Hash};

/// The two parts of a corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// What is trained on and certified.
    Train,
    /// Held out.
    Val,
}

/// How documents were dealt to the splits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitRule {
    /// The share of documents held out, from 0 to 1.
    pub val_fraction: f64,
    /// Of the hash.
    pub seed: u64,
}

impl SplitRule {
    pub(crate) fn split(self, id: Id) -> Split {
        if uniform(b"sublora corpus 1 split", self.seed, id) < self.val_fraction {
            Split::Val
        } else {
            Split::Train
        }
    }
}

/// A part of the training documents set aside, so that what is learned from it is independent of the
/// rest. A base model pretrained on the prior part is side information for a certificate about the
/// certified part.
///
/// Near-duplicates may fall on both sides; where that matters, build the corpus with
/// [`Keep::First`](crate::Keep::First).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// The share of documents in the prior part, from 0 to 1.
    pub fraction: f64,
    /// Of the hash.
    pub seed: u64,
}

/// Document numbers, ascending; every document is in one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionedDocuments {
    /// To pretrain on.
    pub prior: Vec<u64>,
    /// To certify.
    pub certified: Vec<u64>,
}

impl Partition {
    /// Deals out the documents of a split.
    ///
    /// # Errors
    /// [`Error::Fraction`] if the fraction is not a number from 0 to 1.
    pub fn documents(&self, table: &DocumentTable) -> Result<PartitionedDocuments, Error> {
        check_fraction("fraction", self.fraction)?;
        let (prior, certified) = (0..).zip(table.iter()).partition::<Vec<_>, _>(|(_, document)| {
            uniform(b"sublora corpus 1 prior", self.seed, document.id) < self.fraction
        });
        let numbers = |part: Vec<(u64, _)>| part.into_iter().map(|(number, _)| number).collect();
        Ok(PartitionedDocuments { prior: numbers(prior), certified: numbers(certified) })
    }
}

pub(crate) fn check_fraction(name: &'static str, value: f64) -> Result<(), Error> {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(Error::Fraction { name, value }) }
}

/// On [0, 1), with 53 bits.
fn uniform(tag: &[u8], seed: u64, id: Id) -> f64 {
    let hash = Sha256Hash::of(&[tag, &seed.to_le_bytes(), &id.0]);
    let [a, b, c, d, e, f, g, h, ..] = hash.0;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]) >> 11) as f64 * 2f64.powi(-53)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fraction_is_met_and_two_decisions_are_independent() {
        let rule = SplitRule { val_fraction: 0.25, seed: 1 };
        let ids = (0..10_000_u32).map(|n| Id::of(&n.to_le_bytes()));
        let (mut val, mut both) = (0_i32, 0_i32);
        for id in ids {
            let held_out = rule.split(id) == Split::Val;
            val += i32::from(held_out);
            both += i32::from(held_out && uniform(b"sublora corpus 1 prior", 1, id) < 0.5);
        }
        // 2500 with standard deviation 43, 1250 with 33; five of them.
        assert!((val - 2_500).abs() < 217, "{val}");
        assert!((both - 1_250).abs() < 165, "{both}");
    }

    #[test]
    fn the_hash_is_fixed_for_ever() {
        // id = hashlib.sha256(b"").digest()[:16]
        // h = hashlib.sha256(b"sublora corpus 1 split" + bytes(8) + id).digest()
        // int.from_bytes(h[:8], "little") >> 11
        let place = uniform(b"sublora corpus 1 split", 0, Id::of(b"")) * 2f64.powi(53);
        assert_eq!(format!("{place}"), "8341629485907557");
    }
}
