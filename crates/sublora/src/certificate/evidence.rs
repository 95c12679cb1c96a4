//! From scores to claims: every bound, every metric, the best smoothing weight of each.

use std::num::{NonZeroU32, NonZeroU64};

use bounds::{
    Alpha, AnyBound, Bits, BoundError, Certified, Evidence, FailureProbability, LossRange, Metric,
    Sampling, Scores, Smoothing, Unit, round_up,
};
use gpt2_model::TokenScores;
use rayon::prelude::*;

use super::{Claim, MetricName};
use crate::Error;

/// Smoothing weights are searched among $2^{-b}$, $b$ up to this.
const MAX_EXPONENT: u32 = 12;
/// Decimals of a published bound.
const DECIMALS: u8 = 6;

/// One level's scores and what they stand for.
pub(super) struct Level<'a> {
    pub(super) unit: Unit,
    /// $m$.
    pub(super) population: NonZeroU64,
    /// Whether the units were drawn, or all of them are there.
    pub(super) sampled: bool,
    pub(super) scores: &'a TokenScores,
    /// `[groups + 1]`: the tokens of each document, or of each block drawn.
    pub(super) offsets: &'a [u64],
}

/// What every claim of a certificate shares.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) vocab: u32,
    pub(super) code_length: Bits,
    /// $M$, runs that this one was chosen from, each with a sample that may mislead.
    pub(super) models: NonZeroU64,
    /// Of one claim.
    pub(super) failure: f64,
}

/// The bounds that are claimed for a unit and metric: the ones proven for it that pay for everything
/// they use. The forms kept for comparison with publications are not among them.
pub(super) fn claimed(unit: Unit, metric: Metric) -> Vec<AnyBound> {
    let names = ["strict", "kl-inverse", "empirical-bernstein", "product", "azuma", "freedman"];
    let bounds = AnyBound::all().into_iter();
    // Freedman's needs a guess of each loss, which the entropy gives for bits only.
    let guessed = metric == Metric::BitsPerToken;
    let bounds =
        bounds.filter(|it| names.contains(&it.name()) && (guessed || it.name() != "freedman"));
    bounds.filter(|it| it.as_dyn().applies_to(unit, metric)).collect()
}

impl Level<'_> {
    /// One claim a bound, for every metric. A bound that needs more units than there are makes none:
    /// that is known before they are scored.
    pub(super) fn claims(&self, metrics: &[Metric], terms: Terms) -> Result<Vec<Claim>, Error> {
        let scores =
            Scores::new(&self.scores.ln_p, &self.scores.rank, &self.scores.entropy, self.offsets)?;
        let pairs: Vec<(Metric, AnyBound)> = metrics
            .iter()
            .flat_map(|&metric| claimed(self.unit, metric).into_iter().map(move |it| (metric, it)))
            .collect();
        pairs
            .into_par_iter()
            .map(|(metric, bound)| self.claim(scores, metric, &bound, terms))
            .filter(|claim| !matches!(claim, Err(Error::Bound(BoundError::TooFew { .. }))))
            .collect()
    }

    fn claim(
        &self,
        scores: Scores<'_>,
        metric: Metric,
        bound: &AnyBound,
        terms: Terms,
    ) -> Result<Claim, Error> {
        let certify = |alpha: Option<Alpha>| -> Result<Certified, BoundError> {
            let by_token = self.unit == Unit::Token;
            let (values, predictable, range) = match (metric, alpha) {
                (Metric::TopKError { k }, _) => {
                    let values =
                        if by_token { scores.token_errors(k) } else { scores.document_errors(k) };
                    (values, None, LossRange::UNIT)
                }
                (_, alpha) => {
                    let smoothing = Smoothing::new(alpha.map_or(0.5, Alpha::value), terms.vocab)?;
                    if by_token {
                        let predictable = Some(scores.predicted_losses(smoothing));
                        (scores.token_losses(smoothing), predictable, smoothing.range())
                    } else {
                        (scores.document_losses(smoothing), None, smoothing.range())
                    }
                }
            };
            let half = if self.sampled { terms.failure / 2.0 } else { terms.failure };
            let failure = FailureProbability::new(half)?;
            bound.as_dyn().certify(&Evidence {
                unit: self.unit,
                metric,
                population: self.population,
                values: &values,
                sampling: match (self.sampled, self.unit) {
                    (false, _) => Sampling::Full,
                    (true, Unit::Document) => Sampling::Uniform,
                    (true, Unit::Token) => Sampling::Blocks(self.offsets),
                },
                code_length: terms.code_length,
                alpha_bits: alpha.map_or(Bits::ZERO, Alpha::code_length),
                predictable: predictable.as_deref(),
                range,
                models: terms.models,
                training_failure: failure,
                sample_failure: failure,
            })
        };
        let (alpha, certified) = match metric {
            Metric::TopKError { .. } => (None, certify(None)?),
            Metric::BitsPerToken => {
                let mut best: Option<(Alpha, Certified)> = None;
                for exponent in 1..=MAX_EXPONENT {
                    let alpha = Alpha::new(1, exponent)?;
                    let certified = certify(Some(alpha))?;
                    match &best {
                        Some((_, least)) if least.bound <= certified.bound => break,
                        _ => best = Some((alpha, certified)),
                    }
                }
                let (alpha, certified) = best.ok_or(BoundError::Zero("smoothing weights"))?;
                (Some(alpha), certified)
            }
        };
        let (k, vacuous_above) = match metric {
            Metric::BitsPerToken => (None, f64::from(terms.vocab).log2()),
            Metric::TopKError { k } => {
                let k = k.min(NonZeroU32::new(terms.vocab).unwrap_or(NonZeroU32::MIN)).get();
                (Some(k), 1.0 - f64::from(k) / f64::from(terms.vocab))
            }
        };
        let bound_value = round_up(certified.bound, DECIMALS);
        Ok(Claim {
            name: bound.name().to_owned(),
            unit: self.unit,
            metric: MetricName::from(metric),
            k,
            alpha,
            risk: certified.risk,
            complexity_term: certified.complexity_term,
            sampling_term: certified.sampling_term,
            bound: bound_value,
            vacuous_above,
            vacuous: bound_value >= vacuous_above,
        })
    }
}
