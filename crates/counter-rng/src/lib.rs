//! Counter-based random numbers with the same bits on every platform.
//!
//! Whatever enters a certificate by chance (a frozen base, a projector, a permutation, a subsample)
//! is a function of a key and an index, `value = f(key, index)`: any slice can be generated alone, in
//! any order, on any number of threads, and a decoder on another machine regenerates the same bits.
//!
//! # Definition
//! The words of a key are the `ChaCha8` keystream under that key (D. J. Bernstein, *ChaCha, a variant
//! of Salsa20*, 2008), read as little-endian `u64`: word $i$ is bytes $8i$ to $8i + 7$. Keys form a
//! tree: [`Key::from_seed`] is its root, [`Key::derive`] and [`Key::index`] its branches, each a
//! SHA-256 of the parent under its own tag, so that two purposes never share a stream.
//!
//! Normal variates come in pairs from words $2k$ and $2k + 1$ by Box and Muller (1958),
//! $$ z_{2k} = \sqrt{-2 \ln u}\,\cos 2\pi v, \qquad z_{2k+1} = \sqrt{-2 \ln u}\,\sin 2\pi v, $$
//! in `f64` with the elementary functions of the `libm` crate, never the platform's, then rounded to
//! `f32`.
//!
//! ```
//! use counter_rng::Key;
//!
//! let key = Key::from_seed(137).derive("projector").index(2);
//! let (mut whole, mut tail) = ([0.0; 10], [0.0; 4]);
//! key.fill_normal(0, &mut whole);
//! key.fill_normal(6, &mut tail);
//! assert_eq!(whole[6..], tail);
//! ```

use std::num::NonZeroU64;

use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// Elements filled by one task; even, so that a task starts at a whole pair.
const CHUNK: usize = 1 << 14;

/// A node of the key tree: the seed of one stream and the parent of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The root for a user's `seed`.
    pub fn from_seed(seed: u64) -> Self {
        Self::hash(b"sublora counter-rng 1 seed", &[&seed.to_le_bytes()])
    }

    /// The branch for `purpose`, for example `"base"` or `"projector"`.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Self {
        Self::hash(b"sublora counter-rng 1 purpose", &[&self.0, purpose.as_bytes()])
    }

    /// The branch for the `index`-th of many equals, for example a layer.
    #[must_use]
    pub fn index(&self, index: u64) -> Self {
        Self::hash(b"sublora counter-rng 1 index", &[&self.0, &index.to_le_bytes()])
    }

    /// The words from number `start` on.
    pub fn words(&self, start: u64) -> Words {
        let mut generator = ChaCha8Rng::from_seed(self.0);
        generator.set_word_pos(u128::from(start) * 2);
        Words(generator)
    }

    /// Standard normal variates number `start`, `start + 1`, ...
    pub fn fill_normal(&self, start: u64, out: &mut [f32]) {
        let (head, pairs) = out.split_at_mut(out.len().min(usize::from(start % 2 == 1)));
        if let [second] = head {
            *second = self.words(start - 1).normal_pair()[1];
        }
        let start = start + head.len() as u64;
        pairs.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
            let mut words = self.words(start + (chunk * CHUNK) as u64);
            for pair in out.chunks_mut(2) {
                pair.copy_from_slice(&words.normal_pair()[..pair.len()]);
            }
        });
    }

    /// Variates number `start`, `start + 1`, ... uniform on [0, 1), with 53 random bits each.
    pub fn fill_uniform(&self, start: u64, out: &mut [f64]) {
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
            let mut words = self.words(start + (chunk * CHUNK) as u64);
            out.fill_with(|| words.uniform());
        });
    }

    /// A uniform permutation of `0..len`, by Fisher and Yates from the last place down.
    ///
    /// # Panics
    /// If `len` exceeds `u32::MAX`.
    #[expect(clippy::cast_possible_truncation, reason = "below the length, which is a u32")]
    pub fn permutation(&self, len: usize) -> Vec<u32> {
        let len = u32::try_from(len).expect("a permutation has at most u32::MAX places");
        let mut places: Vec<u32> = (0..len).collect();
        let mut words = self.words(0);
        for last in (1..places.len()).rev() {
            let bound = NonZeroU64::MIN.saturating_add(last as u64);
            places.swap(last, words.below(bound) as usize);
        }
        places
    }

    fn hash(tag: &[u8], parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(tag);
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }
}

/// The words of a key in sequence. An endless iterator.
pub struct Words(ChaCha8Rng);

impl Words {
    /// An integer uniform on `0..bound`, by rejection: no modulo bias, one word or more.
    pub fn below(&mut self, bound: NonZeroU64) -> u64 {
        let bound = bound.get();
        let excess = (u64::MAX % bound + 1) % bound; // 2^64 mod bound
        loop {
            let word = self.0.next_u64();
            if word <= u64::MAX - excess {
                return word % bound;
            }
        }
    }

    /// A number uniform on [0, 1), from the upper 53 bits of one word.
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * 2f64.powi(-53)
    }

    /// Two independent standard normal variates, from two words.
    #[expect(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
    pub fn normal_pair(&mut self) -> [f32; 2] {
        let radius = (-2.0 * libm::log(1.0 - self.uniform())).sqrt(); // 1 - u is in (0, 1]
        let (sin, cos) = libm::sincos(std::f64::consts::TAU * self.uniform());
        [(radius * cos) as f32, (radius * sin) as f32]
    }
}

impl Iterator for Words {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        Some(self.0.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_slice_can_be_generated_alone() {
        let key = Key::from_seed(1);
        let mut whole = vec![0.0; 3 * CHUNK + 7];
        key.fill_normal(0, &mut whole);
        for (start, len) in [(0, 1), (1, 1), (1, 2), (5, 0), (CHUNK - 1, 9), (3 * CHUNK + 6, 1)] {
            let mut slice = vec![0.0; len];
            key.fill_normal(start as u64, &mut slice);
            assert_eq!(slice, whole[start..start + len], "{len} from {start}");
        }
    }

    #[test]
    fn branches_differ() {
        let root = Key::from_seed(1);
        let keys = [
            root,
            Key::from_seed(2),
            root.derive("a"),
            root.derive("b"),
            root.derive("a").derive("b"),
            root.index(0),
            root.index(1),
            root.derive("a").index(0),
        ];
        let first: std::collections::HashSet<u64> =
            keys.iter().filter_map(|key| key.words(0).next()).collect();
        assert_eq!(first.len(), keys.len());
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut words = Key::from_seed(3).words(0);
        let mut counts = [0_i32; 6];
        for _ in 0..60_000 {
            let face = words.below(const { NonZeroU64::new(6).unwrap() });
            counts[usize::try_from(face).unwrap()] += 1;
        }
        // Expectation 10 000 each, standard deviation sqrt(60 000 * 5/36) = 91; five of them.
        assert!(counts.iter().all(|count| (count - 10_000).abs() < 456), "{counts:?}");
    }

    #[test]
    fn normals_have_the_moments_of_a_normal() {
        const N: usize = 1_000_000;
        let mut normals = vec![0.0; N];
        Key::from_seed(4).fill_normal(0, &mut normals);
        let moment = |k| normals.iter().map(|&z| f64::from(z).powi(k)).sum::<f64>() / N as f64;
        // Moments 0, 1, 0, 3 with variances 1, 2, 15, 96 over N; five standard deviations.
        for (k, (expected, variance)) in
            (1..).zip([(0.0, 1.0), (1.0, 2.0), (0.0, 15.0), (3.0, 96.0_f64)])
        {
            let tolerance = 5.0 * (variance / N as f64).sqrt();
            assert!((moment(k) - expected).abs() < tolerance, "moment {k}: {}", moment(k));
        }
    }

    #[test]
    fn a_permutation_holds_every_place_once() {
        let mut places = Key::from_seed(5).permutation(1_000);
        assert_ne!(places[..5], [0, 1, 2, 3, 4]);
        places.sort_unstable();
        assert!(places.iter().copied().eq(0..1_000));
        assert!(Key::from_seed(5).permutation(0).is_empty());
    }
}
