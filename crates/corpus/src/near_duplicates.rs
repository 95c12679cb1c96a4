//! Near-duplicates: documents that share a band of their MinHash signatures.
//!
//! # Definition
//! A shingle is `shingle` words in a row (bytes between ASCII white space; a shorter document is one
//! shingle). With random odd $a_i$ and $b_i$, the signature is
//! $$ s_i = \min_{x} \bigl(a_i\,h(x) + b_i\bigr) \bmod 2^{64}, \qquad i < bands \cdot rows, $$
//! over the hashes $h(x)$ of the shingles, and a band is `rows` consecutive $s_i$. Documents whose sets of
//! shingles have the Jaccard similarity $J$ share a band with probability
//! $1 - (1 - J^{rows})^{bands}$: 1/2 at $J$ = 0.69 with the default. A cluster is a connected component of
//! "shares a band", and their number is the effective number of documents.
//!
//! # Reference
//! A. Broder, *On the resemblance and containment of documents*, 1997. The default is FineWeb's:
//! G. Penedo et al., 2024, arXiv:2406.17557 (5-grams, 14 bands of 8).
//!
//! # Notes on the reference implementation
//! Candidates are not compared again, so a cluster may join documents that are less alike: the
//! effective number errs towards few, which is the safe side of a bound.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use counter_rng::Key;
use serde::{Deserialize, Serialize};

use crate::{Error, Split};

/// How alike near-duplicates are, and what becomes of them.
///
/// Memory: `8 * bands` bytes and an entry of a hash map per band and document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NearDuplicates {
    /// Words of a shingle.
    pub shingle: u32,
    /// Bands; more of them find less similar documents.
    pub bands: u32,
    /// Signature entries of a band; more of them ask for more similarity.
    pub rows: u32,
    /// Of the random $a_i$, $b_i$.
    pub seed: u64,
    /// Report clusters, or keep their first documents only.
    pub keep: Keep,
}

/// Which documents of a cluster are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// All of them: clusters are only counted.
    #[default]
    All,
    /// Those that share no band with an earlier document. One per cluster, unless a later document
    /// joins what were two clusters when their first documents were written.
    First,
}

impl Default for NearDuplicates {
    fn default() -> Self {
        Self { shingle: 5, bands: 14, rows: 8, seed: 0, keep: Keep::All }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NearDuplicateReport {
    /// As configured.
    pub settings: NearDuplicates,
    /// Documents left out because of [`Keep::First`].
    pub dropped: u64,
    /// Clusters with a document in the training split: its effective number of documents.
    pub train_clusters: u64,
    /// Clusters with a document in the validation split.
    pub val_clusters: u64,
    /// Clusters with documents in both.
    pub shared_clusters: u64,
}

/// Signatures from text.
pub(crate) struct MinHasher {
    shingle: usize,
    rows: usize,
    multipliers: Vec<u64>,
    offsets: Vec<u64>,
}

impl MinHasher {
    pub(crate) fn new(settings: &NearDuplicates) -> Result<Self, Error> {
        for (name, value) in
            [("shingle", settings.shingle), ("bands", settings.bands), ("rows", settings.rows)]
        {
            if value == 0 {
                return Err(Error::Zero { name });
            }
        }
        let size = settings.bands as usize * settings.rows as usize;
        let key = Key::from_seed(settings.seed).derive("near-duplicates");
        let multipliers =
            key.derive("multipliers").words(0).take(size).map(|word| word | 1).collect();
        let offsets = key.derive("offsets").words(0).take(size).collect();
        let (shingle, rows) = (settings.shingle as usize, settings.rows as usize);
        Ok(Self { shingle, rows, multipliers, offsets })
    }

    /// One number per band.
    pub(crate) fn bands(&self, text: &[u8]) -> Vec<u64> {
        let words: Vec<u64> = text
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .map(|word| hash(word.iter().map(|&byte| byte.into())))
            .collect();
        let mut signature = vec![u64::MAX; self.multipliers.len()];
        for shingle in words.windows(self.shingle.min(words.len()).max(1)) {
            let x = hash(shingle.iter().copied());
            for ((least, a), b) in signature.iter_mut().zip(&self.multipliers).zip(&self.offsets) {
                *least = (*least).min(a.wrapping_mul(x).wrapping_add(*b));
            }
        }
        (0..)
            .zip(signature.chunks(self.rows))
            .map(|(band, rows)| hash([band].into_iter().chain(rows.iter().copied())))
            .collect()
    }
}

/// FNV-1a over words of 64 bits, and the finaliser of SplitMix64.
fn hash(words: impl Iterator<Item = u64>) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for word in words {
        state = (state ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        state ^= state >> 29;
    }
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// The bands seen so far, and the clusters they make.
#[derive(Default)]
pub(crate) struct Clusters {
    /// From a band to the first document that has it.
    first: HashMap<u64, usize>,
    /// Union-find: a document's parent, itself at a root.
    parent: Vec<usize>,
    /// Where each document went; `None` if it was dropped.
    place: Vec<Option<Split>>,
}

impl Clusters {
    /// Adds a document. `true` if it shares a band with an earlier one.
    pub(crate) fn insert(&mut self, bands: &[u64]) -> bool {
        let document = self.parent.len();
        self.parent.push(document);
        self.place.push(None);
        let mut shares = false;
        for &band in bands {
            match self.first.entry(band) {
                Entry::Vacant(entry) => {
                    entry.insert(document);
                }
                Entry::Occupied(entry) if *entry.get() != document => {
                    shares = true;
                    let (a, b) = (*entry.get(), document);
                    let (a, b) = (self.root(a), self.root(b));
                    self.parent[a.max(b)] = a.min(b);
                }
                Entry::Occupied(_) => {}
            }
        }
        shares
    }

    /// Says where the document inserted last was written.
    pub(crate) fn place(&mut self, split: Split) {
        if let Some(last) = self.place.last_mut() {
            *last = Some(split);
        }
    }

    pub(crate) fn report(mut self, settings: &NearDuplicates) -> NearDuplicateReport {
        let mut holds = vec![[false; 2]; self.parent.len()];
        for document in 0..self.parent.len() {
            let root = self.root(document);
            match self.place[document] {
                Some(Split::Train) => holds[root][0] = true,
                Some(Split::Val) => holds[root][1] = true,
                None => {}
            }
        }
        let count =
            |which: fn(&[bool; 2]) -> bool| holds.iter().filter(|it| which(it)).count() as u64;
        NearDuplicateReport {
            settings: settings.clone(),
            dropped: self.place.iter().filter(|place| place.is_none()).count() as u64,
            train_clusters: count(|&[train, _]| train),
            val_clusters: count(|&[_, val]| val),
            shared_clusters: count(|&[train, val]| train && val),
        }
    }

    fn root(&mut self, mut document: usize) -> usize {
        while self.parent[document] != document {
            self.parent[document] = self.parent[self.parent[document]]; // path halving
            document = self.parent[document];
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(range: std::ops::Range<u32>) -> String {
        range.map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_changed_word_in_three_hundred_is_a_near_duplicate_and_another_text_is_not() {
        let hasher = MinHasher::new(&NearDuplicates::default()).unwrap();
        // 296 shingles, 5 of them changed: J = 291 / 301 = 0.967, missed with probability
        // (1 - 0.967^8)^14 = 4e-9.
        let text = words(0..300);
        let changed = text.replace("word150 ", "other ");
        let mut clusters = Clusters::default();
        for (text, shares) in
            [(&text, false), (&changed, true), (&words(300..600), false), (&"a b".into(), false)]
        {
            assert_eq!(clusters.insert(&hasher.bands(text.as_bytes())), shares);
            clusters.place(Split::Train);
        }
        let report = clusters.report(&NearDuplicates::default());
        assert_eq!((report.train_clusters, report.val_clusters, report.dropped), (3, 0, 0));
    }

    #[test]
    fn similarity_shows_in_the_share_of_equal_minima() {
        // One row per band: a band is shared with probability J. 96 + 400 words make 496 - 4
        // shingles; with 200 new words at the end, J = 492 / 692 = 0.711.
        let settings = NearDuplicates { bands: 4_000, rows: 1, ..NearDuplicates::default() };
        let hasher = MinHasher::new(&settings).unwrap();
        let (a, b) =
            (hasher.bands(words(0..496).as_bytes()), hasher.bands(words(0..696).as_bytes()));
        let equal = a.iter().zip(&b).filter(|(a, b)| a == b).count() as f64 / 4_000.0;
        // Standard deviation sqrt(0.711 * 0.289 / 4000) = 0.0072; five of them.
        assert!((equal - 492.0 / 692.0).abs() < 0.036, "{equal}");
    }

    #[test]
    fn a_chain_is_one_cluster() {
        let mut clusters = Clusters::default();
        for (bands, shares, split) in [
            ([1, 2], false, Split::Train),
            ([3, 4], false, Split::Val),
            ([5, 6], false, Split::Train),
            ([2, 3], true, Split::Train),
        ] {
            assert_eq!(clusters.insert(&bands), shares);
            clusters.place(split);
        }
        assert!(clusters.insert(&[6, 7])); // dropped
        let report = clusters.report(&NearDuplicates::default());
        assert_eq!((report.train_clusters, report.val_clusters), (2, 1));
        assert_eq!((report.shared_clusters, report.dropped), (1, 1));
    }

    #[test]
    fn documents_without_words_are_alike() {
        let hasher = MinHasher::new(&NearDuplicates::default()).unwrap();
        assert_eq!(hasher.bands(b" \n"), hasher.bands(b""));
        assert!(MinHasher::new(&NearDuplicates { rows: 0, ..Default::default() }).is_err());
    }
}
