//! The rows of the tables of numbers.

use serde::{Deserialize, Serialize};

use super::QatComparison;
use super::checks::Text;
use super::methods::Method;
use crate::sweep::Spread;

/// A method at a width and stride. Losses are in nats per token; `sd` is the standard deviation over the
/// runs, empty for one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WidthRow {
    /// Name of the method.
    pub method: String,
    /// Of the weights.
    pub bits: u8,
    /// Tokens by which windows slide.
    pub stride: u64,
    /// Longest window, in tokens.
    pub context: u64,
    /// Held-out documents.
    pub documents: u64,
    /// Tokens scored.
    pub tokens: u64,
    /// Runs, a seed each, over which all means are.
    pub runs: usize,
    /// Mean loss.
    pub nats: f64,
    /// Of the losses.
    pub nats_sd: Option<f64>,
    /// Mean perplexity.
    pub perplexity: f64,
    /// Of the perplexities.
    pub perplexity_sd: Option<f64>,
    /// Bits in which a weight of the quantised matrices is held, scales included.
    pub bits_per_weight: f64,
    /// BitOPs of a forward pass, per token of a full context.
    pub bit_ops_per_token: f64,
    /// Mean BitOPs of the training of the run; none without.
    pub training_bit_ops: Option<f64>,
    /// Parameters beside the base that this width uses.
    pub own_parameters: u64,
}

/// A run at a width and stride.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RunRow {
    /// Name of its method; empty at a width at which it does not stand for one.
    pub(super) method: Option<String>,
    pub(super) label: String,
    pub(super) seed: u64,
    pub(super) bits: u8,
    pub(super) stride: u64,
    pub(super) nats: f64,
    pub(super) perplexity: f64,
    pub(super) bits_per_weight: f64,
    pub(super) bit_ops_per_token: f64,
    pub(super) training_bit_ops: Option<f64>,
    pub(super) own_parameters: u64,
}

impl QatComparison {
    /// Stride by stride, width by width, method by method.
    pub(super) fn width_rows(&self) -> Vec<WidthRow> {
        let (methods, mut rows) = (self.methods(), Vec::new());
        for text in &self.texts {
            for bits in self.bits() {
                rows.extend(methods.iter().filter_map(|method| width_row(method, bits, text)));
            }
        }
        rows
    }

    /// Method by method, seed by seed.
    pub(super) fn run_rows(&self) -> Vec<RunRow> {
        let of_run =
            self.runs.iter().flat_map(|run| run.record.widths.iter().map(move |it| (run, it)));
        let row = |(run, it): (&super::ComparedRun, &crate::qat::record::WidthRecord)| RunRow {
            method: run.at(it.bits, it.stride).map(|_| run.method().0.to_owned()),
            label: run.label.clone(),
            seed: run.seed(),
            bits: it.bits.get(),
            stride: it.stride,
            nats: it.nats_per_token,
            perplexity: it.perplexity,
            bits_per_weight: it.bits_per_weight,
            bit_ops_per_token: it.bit_ops_per_token,
            training_bit_ops: run.training_bit_ops(),
            own_parameters: it.own_parameters,
        };
        of_run.map(row).collect()
    }
}

/// None of a method that was not evaluated there.
fn width_row(method: &Method<'_>, bits: quantizers::BitWidth, text: &Text) -> Option<WidthRow> {
    let found: Vec<_> = method.at(bits, text.stride).collect();
    let first = found.first()?.1;
    let nats = Spread::of(&method.nats(bits, text.stride))?;
    let perplexities: Vec<f64> = found.iter().map(|it| it.1.perplexity).collect();
    let perplexity = Spread::of(&perplexities)?;
    let training: Vec<f64> = found.iter().filter_map(|it| it.0.training_bit_ops()).collect();
    Some(WidthRow {
        method: method.name.to_owned(),
        bits: bits.get(),
        stride: text.stride,
        context: text.context,
        documents: text.documents,
        tokens: text.tokens,
        runs: found.len(),
        nats: nats.mean,
        nats_sd: nats.deviation,
        perplexity: perplexity.mean,
        perplexity_sd: perplexity.deviation,
        bits_per_weight: first.bits_per_weight,
        bit_ops_per_token: first.bit_ops_per_token,
        training_bit_ops: Spread::of(&training).map(|it| it.mean),
        own_parameters: first.own_parameters,
    })
}
