//! Which exponents to spend bits on.
//!
//! # Definition
//! At a price of $\lambda$ bits of data for a bit of code, a context with $N$ tokens, $n_t$ of each,
//! minimises
//! $$ N \log_2 Z - \tfrac{s}{4} \sum_t n_t e_t + \lambda \sum_t \ell(e_t), \quad
//!    Z = \sum_t q(t) r^{e_t}, $$
//! by coordinate descent: with $Z_{-t}$ the sum without $t$, the best real $e_t$ solves
//! $q(t) r^{e_t} / Z_{-t} = n_t / (N - n_t)$, and its whole neighbours, those nearer to 0 and 0
//! itself are compared. $\ell$ is what the exponents of the previous round cost on average; there are
//! three rounds.
//!
//! A bound pays for its code under a square root, so that the best price is not 1 but anything up to
//! hundreds: prices are tried from the highest down while the objective falls.

use rayon::prelude::*;

use super::pair_counts::PairCounts;
use super::table::{CLASSES, Entry, MAX_EXPONENT, Ranking, Table, place, powers};

const ROUNDS: usize = 3;
const SWEEPS: usize = 4;

/// What exponents cost, in bits.
#[derive(Debug, Clone)]
struct Costs {
    /// A pair that is listed, above one that is not, by class.
    listed: [f64; CLASSES],
    /// An exponent.
    exponent: [f64; 2 * MAX_EXPONENT as usize + 1],
}

impl Costs {
    fn initial() -> Self {
        let exponent = std::array::from_fn(|at| 1.0 + 0.7 * (at.abs_diff(place(0)) as f64));
        Self { listed: [4.0; CLASSES], exponent }
    }

    /// From how many of the `cells` of each class are `listed`, and with which exponents.
    fn measured(cells: [f64; CLASSES], listed: [f64; CLASSES], exponents: &[f64]) -> Self {
        let total: f64 = exponents.iter().sum::<f64>() + 0.5 * exponents.len() as f64;
        Self {
            listed: std::array::from_fn(|class| {
                let (zero, not) = (cells[class] - listed[class] + 0.5, listed[class] + 0.5);
                (zero.max(0.5) / not).log2()
            }),
            exponent: std::array::from_fn(|at| (total / (exponents[at] + 0.5)).log2()),
        }
    }
}

/// One token of a context.
struct Cell {
    token: u32,
    count: f64,
    base: f64,
    listed: f64,
    exponent: i8,
}

/// The settings of a fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) log_step: u8,
    /// $\lambda$.
    pub(super) price: f64,
}

impl Setting {
    /// The unigram, and with `rows` the bigram.
    pub(super) fn table(self, counts: &PairCounts, rows: bool) -> Table {
        let vocab = counts.vocab;
        let tokens = counts.tokens();
        let base = self.base(vocab, &tokens);
        let rows = rows.then(|| self.rows(counts, &base));
        Table { vocab, log_step: self.log_step, base, rows }
    }

    fn base(self, vocab: u32, tokens: &[u64]) -> Vec<Entry> {
        let total = tokens.iter().sum::<u64>() as f64;
        let uniform = 1.0 / f64::from(vocab);
        let mut costs = Costs::initial();
        let mut base = Vec::new();
        for _ in 0..ROUNDS {
            let cells = (0..).zip(tokens).map(|(token, &count)| Cell {
                token,
                count: count as f64,
                base: uniform,
                listed: costs.listed[0],
                exponent: 0,
            });
            base = self.row(total, cells.collect(), &costs);
            let mut cells = [0.0; CLASSES];
            cells[0] = f64::from(vocab);
            costs = measure(cells, base.iter().map(|entry| (0, entry.exponent)));
        }
        base
    }

    fn rows(self, counts: &PairCounts, base: &[Entry]) -> Vec<Vec<Entry>> {
        let vocab = counts.vocab;
        let ranking = &Ranking::new(vocab, self.log_step, base);
        let powers = powers(self.log_step);
        let mut q = vec![1.0; vocab as usize];
        for entry in base {
            q[entry.token as usize] = powers[place(entry.exponent)];
        }
        let sum: f64 = q.iter().sum();
        for weight in &mut q {
            *weight /= sum;
        }

        let mut costs = Costs::initial();
        let mut rows = Vec::new();
        for _ in 0..ROUNDS {
            let fit = |(context, counts): (u32, &Vec<(u32, u64)>)| {
                self.context(context, counts, &q, ranking, &costs)
            };
            rows = (0..vocab).into_par_iter().zip(&counts.rows).map(fit).collect();
            let mut cells = [0.0; CLASSES];
            for context in (0..vocab).filter(|&context| !rows[context as usize].is_empty()) {
                for (class, tokens) in ranking.classes(context) {
                    cells[class] += tokens;
                }
            }
            let entries = (0..).zip(&rows).flat_map(|(context, row): (u32, &Vec<Entry>)| {
                let class = move |token| ranking.class(context, token);
                row.iter().map(move |entry| (class(entry.token), entry.exponent))
            });
            costs = measure(cells, entries);
        }
        rows
    }

    fn context(
        self,
        context: u32,
        counts: &[(u32, u64)],
        q: &[f64],
        ranking: &Ranking,
        costs: &Costs,
    ) -> Vec<Entry> {
        let total = counts.iter().map(|&(_, count)| count).sum::<u64>() as f64;
        let cell = |token: u32, count: u64| Cell {
            token,
            count: count as f64,
            base: q[token as usize],
            listed: costs.listed[ranking.class(context, token)],
            exponent: 0,
        };
        // What listing a token can gain if the others stay is a divergence; half the price is asked,
        // because they do not.
        let pays = |cell: &Cell| {
            let expected = total * cell.base;
            let ratio =
                if cell.count > 0.0 { cell.count * (cell.count / expected).log2() } else { 0.0 };
            ratio - (cell.count - expected) / std::f64::consts::LN_2 > 0.5 * self.price
        };
        let mut cells: Vec<Cell> =
            counts.iter().map(|&(token, count)| cell(token, count)).filter(pays).collect();
        let frequent = ranking.order.iter().map(|&token| cell(token, 0)).take_while(|it| pays(it));
        cells.extend(
            frequent.filter(|it| counts.binary_search_by_key(&it.token, |pair| pair.0).is_err()),
        );
        self.row(total, cells, costs)
    }

    /// Coordinate descent from no exponents at all.
    #[expect(clippy::cast_possible_truncation, reason = "clamped to the exponents there are")]
    fn row(self, total: f64, mut cells: Vec<Cell>, costs: &Costs) -> Vec<Entry> {
        let powers = powers(self.log_step);
        let step = f64::from(1_u8 << self.log_step) / 4.0;
        let most = f64::from(MAX_EXPONENT);
        cells.sort_by(|one, other| other.count.total_cmp(&one.count));
        let mut z = 1.0;
        for _ in 0..SWEEPS {
            let mut changed = false;
            for cell in &mut cells {
                let rest = (z - cell.base * powers[place(cell.exponent)]).max(f64::MIN_POSITIVE);
                let loss = |exponent: i8| {
                    let code = if exponent == 0 {
                        0.0
                    } else {
                        cell.listed + costs.exponent[place(exponent)]
                    };
                    total * (rest + cell.base * powers[place(exponent)]).log2()
                        - cell.count * step * f64::from(exponent)
                        + self.price * code
                };
                let odds = cell.count / (total - cell.count);
                let best = ((rest / cell.base * odds).log2() / step).clamp(-most, most);
                let (low, high) = (best.floor() as i8, best.ceil() as i8);
                let nearer = if best > 0.0 { low - 1 } else { high + 1 };
                let half = (best / 2.0) as i8;
                let quarter = (best / 4.0) as i8;
                let candidates = [low, high, nearer, half, quarter, cell.exponent];
                let (mut choice, mut least) = (0, loss(0));
                for exponent in candidates {
                    let loss = loss(exponent);
                    if loss < least {
                        (choice, least) = (exponent, loss);
                    }
                }
                changed |= choice != cell.exponent;
                cell.exponent = choice;
                z = rest + cell.base * powers[place(choice)];
            }
            if !changed {
                break;
            }
        }
        let listed = cells.iter().filter(|cell| cell.exponent != 0);
        let mut row: Vec<Entry> =
            listed.map(|cell| Entry { token: cell.token, exponent: cell.exponent }).collect();
        row.sort_unstable_by_key(|entry| entry.token);
        row
    }
}

fn measure(cells: [f64; CLASSES], entries: impl Iterator<Item = (usize, i8)>) -> Costs {
    let mut listed = [0.0; CLASSES];
    let mut exponents = [0.0; 2 * MAX_EXPONENT as usize + 1];
    for (class, exponent) in entries {
        listed[class] += 1.0;
        exponents[place(exponent)] += 1.0;
    }
    Costs::measured(cells, listed, &exponents)
}
