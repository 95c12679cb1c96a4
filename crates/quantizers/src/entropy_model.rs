//! What the entropy coder believes about the next symbol, given those before it.
//!
//! # Definition
//! After $t$ symbols with counts $c_k(t)$, the two models give symbol $k$ the probability
//! $$ \text{Krichevsky--Trofimov:}\ \frac{c_k(t) + 1/2}{t + L/2}, \qquad
//!    \text{known counts:}\ \frac{c_k(d) - c_k(t)}{d - t}. $$
//! The first needs no table. The second draws without replacement from the final counts, which the
//! decoder must have been told; its code is the enumerative one, of $\log_2 (d! / \prod_k c_k(d)!)$
//! bits, whatever the order of the symbols.
//!
//! # Reference
//! R. E. Krichevsky and V. K. Trofimov, *The performance of universal encoding*, IEEE Trans. Inf.
//! Theory 27, 1981. T. M. Cover, *Enumerative source encoding*, IEEE Trans. Inf. Theory 19, 1973.

use crate::frequencies::Frequencies;

/// A model of a sequence of symbols. The decoder holds the same one at the same place.
pub(crate) trait EntropyModel: Clone {
    /// The frequencies of the next symbol.
    fn frequencies(&self) -> &Frequencies;

    /// Takes note of it.
    fn observe(&mut self, symbol: u8);
}

/// Krichevsky and Trofimov's mixture. Frequencies are doubled, $2 c_k + 1$ of $2t + L$.
#[derive(Debug, Clone)]
pub(crate) struct KrichevskyTrofimov(Frequencies);

impl KrichevskyTrofimov {
    pub(crate) fn new(levels: usize) -> Self {
        Self(Frequencies::new(vec![1; levels]))
    }
}

impl EntropyModel for KrichevskyTrofimov {
    fn frequencies(&self) -> &Frequencies {
        &self.0
    }

    fn observe(&mut self, symbol: u8) {
        self.0.raise(symbol, 2);
    }
}

/// Drawing without replacement from known counts.
#[derive(Debug, Clone)]
pub(crate) struct KnownCounts(Frequencies);

impl KnownCounts {
    pub(crate) fn new(counts: &[u32]) -> Self {
        Self(Frequencies::new(counts.to_vec()))
    }
}

impl EntropyModel for KnownCounts {
    fn frequencies(&self) -> &Frequencies {
        &self.0
    }

    fn observe(&mut self, symbol: u8) {
        self.0.take(symbol);
    }
}
