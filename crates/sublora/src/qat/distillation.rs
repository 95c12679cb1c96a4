//! Who learns from whom when several widths are trained at once.
//!
//! # Definition
//! A step visits widths one after another, each once. With logits $y_i$ of visit $i$, $\mathrm{CE}$ the
//! cross-entropy of the next token and $\bar y$ logits without a graph, it minimises
//! $$ \frac1K \sum_i \Bigl[ c_i\,\mathrm{CE}(y_i) + \sum_{j < i} w_{ij}\,m(y_i, \bar y_j) \Bigr] $$
//! over its $K$ visits that learn something. A [`Distillation`] says which widths are visited, and has
//! $c_i$, $w_{ij}$ and the distance $m$. 32 bits are frozen, so a visit of them only teaches.

mod cascade;
mod full_precision;
mod independent;
mod recursive;
mod sandwich;

use counter_rng::Key;
use gpt2_model::Matching;
use quantizers::BitWidth;

use crate::Error;

/// A rule of who learns from whom.
pub trait Distillation {
    /// What a step does, teachers before who learns from them. `widths` is below 32, ascending and not
    /// empty; `key` is of this step alone.
    fn visits(&self, widths: &[BitWidth], key: Key) -> Vec<Visit>;

    /// Checks the settings.
    ///
    /// # Errors
    /// The first that makes no sense.
    fn check(&self) -> Result<(), Error>;
}

/// A pass at one width.
#[derive(Debug, Clone, PartialEq)]
pub struct Visit {
    /// The width.
    pub bits: BitWidth,
    /// $c_i$.
    pub cross_entropy: f64,
    /// What is learned from earlier visits.
    pub lessons: Vec<Lesson>,
}

/// What is learned from one earlier visit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lesson {
    /// Its place in the step.
    pub teacher: usize,
    /// $w_{ij}$.
    pub weight: f64,
    /// $m$.
    pub matching: Matching,
}

impl Visit {
    /// Learns from the text alone.
    pub fn alone(bits: BitWidth) -> Self {
        Self { bits, cross_entropy: 1.0, lessons: Vec::new() }
    }

    /// Teaches and learns nothing.
    pub fn teacher(bits: BitWidth) -> Self {
        Self { bits, cross_entropy: 0.0, lessons: Vec::new() }
    }

    /// Whether anything is learned.
    pub fn learns(&self) -> bool {
        self.cross_entropy != 0.0 || !self.lessons.is_empty()
    }
}

registry::methods! {
    /// Every distillation.
    pub enum AnyDistillation: dyn Distillation {
        /// Every width learns from the text and from the logits of all higher ones (CDT, InstantNet 2021).
        cascade::Cascade = "cascade",
        /// Every width learns from the text and from the next higher one (Any-Precision 2021).
        recursive::Recursive = "recursive",
        /// Highest, lowest and two random widths a step; the highest teaches the others (Yu and Huang 2019).
        sandwich::Sandwich = "sandwich",
        /// Every width learns from the unquantised model alone, at a temperature (Hinton 2015).
        full_precision::FullPrecision = "full-precision",
        /// Every width learns from the text alone.
        independent::Independent = "independent",
    }
}

/// Errs unless `value` is a weight.
fn check_weight(key: &str, value: f64) -> Result<(), Error> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::Config(format!("`{key}` is {value}, expected a number of at least 0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widths(all: &[u8]) -> Vec<BitWidth> {
        all.iter().map(|&bits| BitWidth::new(bits).unwrap()).collect()
    }

    /// Width, cross-entropy, and widths of the teachers with their weights.
    type Told = (u8, f64, Vec<(u8, f64)>);

    fn visits(method: &dyn Distillation, all: &[u8], step: u64) -> Vec<Told> {
        let visits = method.visits(&widths(all), Key::from_seed(3).index(step));
        let told = |visit: &Visit| {
            let lesson = |it: &Lesson| (visits[it.teacher].bits.get(), it.weight);
            (visit.bits.get(), visit.cross_entropy, visit.lessons.iter().map(lesson).collect())
        };
        visits.iter().map(told).collect()
    }

    #[test]
    fn every_rule_visits_a_width_once_and_teachers_before_pupils() {
        for method in AnyDistillation::all() {
            for all in [&[4][..], &[2, 8], &[2, 3, 4, 6, 8]] {
                for step in 0..20 {
                    let key = Key::from_seed(3).index(step);
                    let visits = method.as_dyn().visits(&widths(all), key);
                    let mut seen: Vec<u8> = visits.iter().map(|it| it.bits.get()).collect();
                    assert!(seen.iter().all(|bits| *bits == 32 || all.contains(bits)));
                    assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
                    seen.retain(|&bits| bits != 32);
                    assert!(seen.len() == all.len() || method.name() == "sandwich");
                    for (place, visit) in visits.iter().enumerate() {
                        assert!(visit.lessons.iter().all(|it| it.teacher < place));
                        assert_eq!(visit.learns(), !visit.bits.is_full());
                    }
                }
            }
        }
    }

    #[test]
    fn in_a_cascade_all_higher_widths_teach() {
        let cascade = Cascade { beta: 0.5, full_precision: false };
        let expected = [
            (8, 1.0, vec![]), // the highest learns from the text alone
            (4, 1.0, vec![(8, 0.5)]),
            (2, 1.0, vec![(8, 0.5), (4, 0.5)]),
        ];
        assert_eq!(visits(&cascade, &[2, 4, 8], 0), expected);
        let with_full = Cascade { full_precision: true, ..cascade };
        let expected = [(32, 0.0, vec![]), (4, 1.0, vec![(32, 0.5)])];
        assert_eq!(visits(&with_full, &[4], 0), expected);
    }

    #[test]
    fn with_two_widths_recursive_is_the_cascade_and_with_more_one_teaches() {
        let (cascade, recursive) = (Cascade::default(), Recursive::default());
        assert_eq!(visits(&recursive, &[4], 0), visits(&cascade, &[4], 0)); // and 32
        let lessons = |visits: Vec<Told>| visits.into_iter().map(|it| it.2).collect::<Vec<_>>();
        assert_eq!(
            lessons(visits(&recursive, &[2, 4, 8], 0)),
            [vec![], vec![(32, 1.0)], vec![(8, 1.0)], vec![(4, 1.0)]]
        );
    }

    #[test]
    fn a_sandwich_has_the_ends_and_two_random_widths() {
        let all = [2, 3, 4, 5, 6, 7, 8];
        let mut drawn = std::collections::BTreeMap::<u8, u32>::new();
        for step in 0..500 {
            let visits = visits(&Sandwich::default(), &all, step);
            let seen: Vec<u8> = visits.iter().map(|it| it.0).collect();
            assert_eq!((seen.len(), seen[0], seen[3]), (4, 8, 2));
            assert!(visits[1..].iter().all(|it| it.2 == [(8, 1.0)]));
            seen[1..3].iter().for_each(|&bits| *drawn.entry(bits).or_default() += 1);
        }
        // 2 of 5 in each step: 200 of 500, with a standard deviation of 11; here at most 4 of them away.
        assert!(
            drawn.len() == 5 && drawn.values().all(|count| (156..=244).contains(count)),
            "{drawn:?}"
        );
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let refused: [&dyn Distillation; 4] = [
            &Cascade { beta: -1.0, ..Cascade::default() },
            &Recursive { beta: f64::NAN, ..Recursive::default() },
            &FullPrecision { temperature: 0.0, ..FullPrecision::default() },
            &FullPrecision { weight: f64::INFINITY, ..FullPrecision::default() },
        ];
        for method in refused {
            let error = method.check().unwrap_err().to_string();
            assert!(error.contains("expected a"), "{error}");
        }
        for method in AnyDistillation::all() {
            method.as_dyn().check().unwrap();
        }
    }
}
