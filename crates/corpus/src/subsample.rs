//! The units that a certificate scores, when it does not score all.
//!
//! # Definition
//! `size` numbers uniform on `0..units`, with replacement and repeats kept: words of the key's
//! counter stream, by rejection against modulo bias. The key is the commitment,
//! SHA-256(tag, seed, units, size, frozen), which is published; `frozen` is whatever was fixed before
//! the draw, say the hashes of the corpus and of the model file. Since the draw depends on it, nobody
//! can look at the sample and then finish the model: another model is another sample.

use std::num::NonZeroU64;

use counter_rng::Key;
use serde::{Deserialize, Serialize};

use crate::Sha256Hash;

/// A sample of a certificate's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subsample {
    /// Chosen by the user.
    pub seed: u64,
    /// Units to draw from, $m$.
    pub units: NonZeroU64,
    /// Numbers to draw, $n$. `None`: every unit once, in order, and no sampling term in the bound.
    pub size: Option<NonZeroU64>,
}

impl Subsample {
    /// What the sample is a function of. Publish it with the certificate.
    pub fn commitment(&self, frozen: &[u8]) -> Sha256Hash {
        let size = self.size.map_or(0, NonZeroU64::get);
        Sha256Hash::of(&[
            b"sublora subsample 1",
            &self.seed.to_le_bytes(),
            &self.units.get().to_le_bytes(),
            &size.to_le_bytes(),
            frozen,
        ])
    }

    /// The numbers, below `units`, in the order drawn.
    pub fn indices(&self, frozen: &[u8]) -> Box<dyn Iterator<Item = u64>> {
        let units = self.units;
        match self.size {
            None => Box::new(0..units.get()),
            Some(size) => {
                let mut words = self.key(frozen).words(0);
                Box::new((0..size.get()).map(move |_| words.below(units)))
            }
        }
    }

    /// One uniform place inside each unit of [`indices`](Self::indices), below the unit's `length`.
    pub fn places(
        &self,
        frozen: &[u8],
        length: impl Fn(u64) -> NonZeroU64,
    ) -> impl Iterator<Item = (u64, u64)> {
        let mut words = self.key(frozen).derive("place").words(0);
        self.indices(frozen).map(move |unit| (unit, words.below(length(unit))))
    }

    fn key(&self, frozen: &[u8]) -> Key {
        let commitment = self.commitment(frozen).to_string();
        Key::from_seed(self.seed).derive("subsample").derive(&commitment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seed: u64, units: u64, size: u64) -> Subsample {
        let units = NonZeroU64::new(units).unwrap();
        Subsample { seed, units, size: NonZeroU64::new(size) }
    }

    #[test]
    fn a_place_is_uniform_in_its_unit() {
        let sample = sample(1, 3, 60_000);
        let length = |unit| NonZeroU64::new(unit + 1).unwrap();
        let places: Vec<(u64, u64)> = sample.places(b"model", length).collect();
        assert!(places.iter().map(|it| it.0).eq(sample.indices(b"model")));
        for (unit, place, expected) in [
            (0, 0, 20_000),
            (1, 0, 10_000),
            (1, 1, 10_000),
            (2, 0, 6_667),
            (2, 1, 6_667),
            (2, 2, 6_667),
        ] {
            let count = places.iter().filter(|&&it| it == (unit, place)).count();
            // Standard deviation at most sqrt(60 000 * 2/9) = 115; five of them.
            assert!(count.abs_diff(expected) < 577, "{unit} {place}: {count}");
        }
        assert_eq!(places.iter().filter(|(unit, place)| place > unit).count(), 0);
    }

    #[test]
    fn the_sample_is_uniform_with_repeats() {
        let mut counts = [0_i32; 7];
        for index in sample(1, 7, 70_000).indices(b"model") {
            counts[usize::try_from(index).unwrap()] += 1;
        }
        // 10 000 each, standard deviation sqrt(70 000 * 6/49) = 93; five of them.
        assert!(counts.iter().all(|count| (count - 10_000).abs() < 463), "{counts:?}");
    }

    #[test]
    fn every_input_changes_the_commitment_and_the_draw() {
        let all = [
            (sample(1, 1_000, 50), "a"),
            (sample(2, 1_000, 50), "a"),
            (sample(1, 1_001, 50), "a"),
            (sample(1, 1_000, 51), "a"),
            (sample(1, 1_000, 50), "b"),
        ];
        let draws = all.map(|(sample, frozen)| {
            let draw: Vec<_> = sample.indices(frozen.as_bytes()).take(50).collect();
            (sample.commitment(frozen.as_bytes()), draw)
        });
        for (place, (commitment, draw)) in draws.iter().enumerate() {
            assert!(draws[..place].iter().all(|other| other.0 != *commitment && other.1 != *draw));
        }
        let again: Vec<_> = all[0].0.indices(b"a").collect();
        assert_eq!(again, draws[0].1);
    }

    #[test]
    fn all_is_every_unit_once() {
        assert!(sample(1, 5, 0).indices(b"").eq(0..5));
    }
}
