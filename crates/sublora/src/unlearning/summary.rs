//! Means over the seeds, and what they say.

use std::cmp::Ordering;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::UnlearningConfig;
use super::outputs::label;
use super::record::{Measures, QuantizedRow, SeedRecord, SweepRow};
use super::study::UnlearningStudy;
use crate::Error;
use crate::sweep::Spread;

/// Which share of the facts has to be forgotten, and by how much the perplexity of text may change.
pub(super) const FORGOTTEN: f64 = 0.5;
pub(super) const RETAIN: f64 = 0.02;
/// Recall of a model that was taught.
const TAUGHT: f64 = 0.5;

/// What all seeds of a study measured.
pub struct UnlearningReport {
    pub(super) config: UnlearningConfig,
    pub(super) records: Vec<SeedRecord>,
}

/// A model beside $M_0$ and $M_1$: means over seeds, `_sd` their standard deviations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forgetting {
    /// `kind` of the selection, or how else the model came to be.
    pub model: String,
    /// Whether it is a mask to compare others with.
    pub is_control: bool,
    /// Share of the weights on the mask, where there is one.
    pub ratio: Option<f64>,
    /// The gain, where there is one.
    pub alpha: Option<f32>,
    /// `kind` of the base that quantises it; none for stored weights.
    pub base: Option<String>,
    /// How many.
    pub seeds: usize,
    /// $\exp L_F$, of the values of facts: the exponential of the mean.
    pub forget_perplexity: f64,
    /// $(L_F - L_F(M_1)) / (L_F(M_0) - L_F(M_1))$.
    pub forgotten: f64,
    /// Of `forgotten`.
    pub forgotten_sd: Option<f64>,
    /// Share of values recalled.
    pub recall: f64,
    /// Of `recall`.
    pub recall_sd: Option<f64>,
    /// $\exp L$ of the values after paraphrases.
    pub paraphrase_perplexity: f64,
    /// $\exp L_R$, of held-out text.
    pub retain_perplexity: f64,
    /// $\exp(L_R - L_R(M_1)) - 1$.
    pub retain_change: f64,
    /// Of `retain_change`.
    pub retain_change_sd: Option<f64>,
    /// Share of the energy of fine-tuning on the mask, where there is one.
    pub captured: Option<f64>,
    /// Bytes of outliers, where there are any.
    pub outlier_bytes: Option<f64>,
    /// Share of weights that have another code than in $M_1$ quantised the same way.
    pub moved: Option<f64>,
}

impl UnlearningReport {
    /// Of the study in `folder`.
    ///
    /// # Errors
    /// No study there, or none of its seeds over.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let (config, records) = UnlearningStudy::read(folder)?;
        if records.is_empty() {
            return Err(Error::Unfinished { folder: folder.to_owned(), what: "seed that is over" });
        }
        Ok(Self { config, records })
    }

    /// Of every selection, ratio and alpha.
    pub fn sweep(&self) -> Vec<Forgetting> {
        self.splits(|it| &it.sweep)
    }

    /// Of facts that were taught to outliers alone, by ratio and alpha.
    pub fn streams(&self) -> Vec<Forgetting> {
        self.splits(|it| &it.streams)
    }

    fn splits(&self, rows: impl Fn(&SeedRecord) -> &Vec<SweepRow>) -> Vec<Forgetting> {
        let key = |it: &SweepRow| (it.selection.clone(), it.ratio.to_bits(), it.alpha.to_bits());
        grouped(&self.records, rows, key, |rows| {
            let (_, first) = rows[0];
            Forgetting {
                model: first.selection.clone(),
                is_control: first.is_control,
                ratio: Some(first.ratio),
                alpha: Some(first.alpha),
                captured: mean(rows, |it| it.captured),
                outlier_bytes: mean(rows, |it| it.outlier_bytes as f64),
                ..of(rows, |it| it.measures)
            }
        })
    }

    /// Of every base kind and model. At $\alpha = 0$ where there is a mask.
    pub fn quantized(&self) -> Vec<Forgetting> {
        let key =
            |it: &QuantizedRow| (it.base.clone(), it.model.clone(), it.ratio.map(f64::to_bits));
        grouped(
            &self.records,
            |it| &it.quantized,
            key,
            |rows| {
                let (_, first) = rows[0];
                Forgetting {
                    model: first.model.clone(),
                    ratio: first.ratio,
                    alpha: first.ratio.map(|_| 0.0),
                    base: Some(first.base.clone()),
                    moved: mean(rows, |it| it.moved),
                    ..of(rows, |it| it.measures)
                }
            },
        )
    }

    /// What was measured, in sentences: the selections against their controls, by the criterion that was
    /// set before.
    pub fn findings(&self) -> Vec<String> {
        let sweep = self.sweep();
        let mut findings = vec![format!(
            "Criterion, set before measuring: at alpha = 0 at least {} % of the way from the taught model \
             back to the untaught one, in log perplexity of the facts; perplexity of text changed by less \
             than {} %; and further back than with every control mask of the same size, by more than the \
             standard deviation over seeds of either.",
            FORGOTTEN * 100.0,
            RETAIN * 100.0,
        )];
        let at_base: Vec<&Forgetting> = sweep.iter().filter(|it| it.alpha == Some(0.0)).collect();
        let candidates: Vec<&Forgetting> =
            at_base.iter().copied().filter(|it| !it.is_control).collect();
        let of_one = candidates.chunk_by(|a, b| a.model == b.model);
        let unjudged = self.unjudged();
        findings.extend(of_one.map(|rows| sentence(rows, &at_base, unjudged)));
        findings.extend(self.taught());
        findings.extend(self.returning());
        findings
    }

    /// Why nothing can be said by the criterion, if that is so.
    fn unjudged(&self) -> Option<&'static str> {
        match () {
            () if self.records.len() < 2 => Some("a single seed has no spread"),
            () if self.config.controls.is_empty() => Some("there is no control"),
            () if !self.are_taught() => Some("not all seeds were taught half of the facts"),
            () => None,
        }
    }

    /// Whether every seed was taught at least half of its facts.
    fn are_taught(&self) -> bool {
        self.records.iter().all(|it| {
            it.memorized.recall >= TAUGHT && it.memorized.forget_nats < it.pretrained.forget_nats
        })
    }

    /// What outliers alone learn, and what is left of it without them.
    fn taught(&self) -> Option<String> {
        let streams = self.streams();
        let sentence = |it: &Forgetting| {
            let same = |other: &&Forgetting| other.alpha == Some(0.0) && other.ratio == it.ratio;
            let base = streams.iter().find(same)?;
            Some(format!(
                "{} % of the weights recall {:.1} %, and {:.1} % at alpha = 0, with {:.1} % forgotten",
                it.ratio.unwrap_or(0.0) * 100.0,
                it.recall * 100.0,
                base.recall * 100.0,
                base.forgotten * 100.0,
            ))
        };
        let stored = streams.iter().filter(|it| it.alpha == Some(1.0));
        let sentences: Vec<String> = stored.filter_map(sentence).collect();
        let intro = "Taught to the outliers alone, on a mask drawn before: ";
        (!sentences.is_empty()).then(|| format!("{intro}{}.", sentences.join("; ")))
    }

    /// What quantising brings back.
    fn returning(&self) -> Option<String> {
        if !self.are_taught() {
            return None; // nothing was there to come back
        }
        let rows = self.quantized();
        let first = rows.first()?.base.clone()?;
        let others = rows.iter().filter(|it| it.base.as_ref() != Some(&first));
        let most = others
            .filter(|it| it.model != "memorized" && it.model != "pretrained")
            .filter_map(|it| {
                let same = |other: &&Forgetting| {
                    other.base.as_ref() == Some(&first)
                        && other.model == it.model
                        && other.ratio == it.ratio
                };
                let before = rows.iter().find(same)?;
                Some((it, before, it.recall - before.recall))
            });
        let (it, before, gain) = most.max_by(|a, b| a.2.total_cmp(&b.2))?;
        let base = it.base.clone().unwrap_or_default();
        Some(if gain > 0.0 {
            format!(
                "Quantising brings back most with {base} after {}: recall from {:.1} % ({first}) to {:.1} %.",
                label(it),
                before.recall * 100.0,
                it.recall * 100.0,
            )
        } else {
            "Quantising brings no fact back, whatever unlearned it.".to_owned()
        })
    }
}

/// Whether a mask does what was asked of it.
pub(super) fn meets(row: &Forgetting, controls: &[&Forgetting]) -> bool {
    let beats = |control: &&Forgetting| {
        let spread = row.forgotten_sd.unwrap_or(0.0).max(control.forgotten_sd.unwrap_or(0.0));
        row.forgotten - control.forgotten > spread
    };
    row.forgotten >= FORGOTTEN && row.retain_change.abs() < RETAIN && controls.iter().all(beats)
}

/// Of the masks of one selection, by size.
fn sentence(rows: &[&Forgetting], all: &[&Forgetting], unjudged: Option<&str>) -> String {
    let percent = |share: f64| report::significant(share * 100.0, 3);
    let size = |it: &Forgetting| format!("{} %", percent(it.ratio.unwrap_or(0.0)));
    let controls_of = |row: &Forgetting| -> Vec<&Forgetting> {
        all.iter().copied().filter(|it| it.is_control && it.ratio == row.ratio).collect()
    };
    let name = rows.first().map_or("", |it| it.model.as_str());
    // A mask of all weights is the untaught model, and no selection.
    let masks = || rows.iter().copied().filter(|it| it.ratio < Some(1.0));
    let met: Vec<String> = masks().filter(|it| meets(it, &controls_of(it))).map(size).collect();
    let verdict = match unjudged {
        Some(reason) => format!("{name} is not judged: {reason}"),
        None if met.is_empty() => format!("{name} meets it with no mask"),
        None => format!("{name} meets it with {} of the weights", met.join(", ")),
    };
    let by_size =
        |a: &&Forgetting, b: &&Forgetting| a.ratio.partial_cmp(&b.ratio).unwrap_or(Ordering::Equal);
    let smallest = masks().filter(|it| it.forgotten >= FORGOTTEN).min_by(by_size);
    let Some(row) = smallest.or(masks().max_by(by_size)) else {
        return format!("{verdict}.");
    };
    let goal =
        if row.forgotten >= FORGOTTEN { "the smallest that goes so far" } else { "the largest" };
    let beside: Vec<String> = controls_of(row)
        .iter()
        .map(|it| format!("{} {} %", it.model, percent(it.forgotten)))
        .collect();
    format!(
        "{verdict}; {goal}, {}, has {} % of the change: {} % forgotten ({}), text {:+.2} %.",
        size(row),
        percent(row.captured.unwrap_or(0.0)),
        percent(row.forgotten),
        beside.join(", "),
        row.retain_change * 100.0,
    )
}

/// Rows of the same key in every seed, in the order of the first.
fn grouped<R, K: PartialEq>(
    records: &[SeedRecord],
    rows: impl Fn(&SeedRecord) -> &Vec<R>,
    key: impl Fn(&R) -> K,
    summary: impl Fn(&[(&SeedRecord, &R)]) -> Forgetting,
) -> Vec<Forgetting> {
    let Some(first) = records.first() else { return Vec::new() };
    let same = |wanted: &R| -> Vec<_> {
        let wanted = key(wanted);
        let of = |it| rows(it).iter().filter(|row| key(row) == wanted).map(move |row| (it, row));
        records.iter().flat_map(of).collect()
    };
    rows(first).iter().map(|row| summary(&same(row))).collect()
}

fn mean<R>(rows: &[(&SeedRecord, &R)], value: impl Fn(&R) -> f64) -> Option<f64> {
    spread(rows, |_, row| value(row)).map(|it| it.mean)
}

fn spread<R>(rows: &[(&SeedRecord, &R)], value: impl Fn(&SeedRecord, &R) -> f64) -> Option<Spread> {
    Spread::of(&rows.iter().map(|(record, row)| value(record, row)).collect::<Vec<_>>())
}

/// What does not depend on the kind of row.
fn of<R>(rows: &[(&SeedRecord, &R)], measures: impl Fn(&R) -> Measures) -> Forgetting {
    let none = Spread { mean: f64::NAN, deviation: None };
    let spread = |value: &dyn Fn(&SeedRecord, Measures) -> f64| {
        spread(rows, |record, row| value(record, measures(row))).unwrap_or(none)
    };
    let forgotten = spread(&|record, it| {
        let [known, unknown] = [record.memorized, record.pretrained].map(|it| it.forget_nats);
        (it.forget_nats - known) / (unknown - known)
    });
    let retain = spread(&|record, it| (it.retain_nats - record.memorized.retain_nats).exp_m1());
    let recall = spread(&|_, it| it.recall);
    Forgetting {
        model: String::new(),
        is_control: false,
        ratio: None,
        alpha: None,
        base: None,
        seeds: rows.len(),
        forget_perplexity: spread(&|_, it| it.forget_nats).mean.exp(),
        forgotten: forgotten.mean,
        forgotten_sd: forgotten.deviation,
        recall: recall.mean,
        recall_sd: recall.deviation,
        paraphrase_perplexity: spread(&|_, it| it.paraphrase_nats).mean.exp(),
        retain_perplexity: spread(&|_, it| it.retain_nats).mean.exp(),
        retain_change: retain.mean,
        retain_change_sd: retain.deviation,
        captured: None,
        outlier_bytes: None,
        moved: None,
    }
}
