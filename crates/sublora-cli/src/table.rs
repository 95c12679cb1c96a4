//! Tables on stdout.

use std::fmt::Write as _;
use std::path::Path;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use sublora::corpus::Partition;
use sublora::qat::{ParameterCounts, WidthRecord};
use sublora::quantizers::{Distortion, Operand};
use sublora::{Certificate, Claim, MetricName, NamedSummary, QuantizedCheckpoint, SpectralReport};

/// A table whose columns but the first are numbers.
pub(crate) fn new<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Every claim of a certificate, and what it is about.
pub(crate) fn certificate(certificate: &Certificate) -> String {
    let mut table = new([
        "bound",
        "unit",
        "metric",
        "risk",
        "complexity",
        "sampling",
        "bound",
        "vacuous above",
    ]);
    for claim in &certificate.bounds {
        let Claim { risk, complexity_term, sampling_term, bound, vacuous_above, .. } = claim;
        let mark = if claim.vacuous { " (vacuous)" } else { "" };
        table.add_row([
            claim.name.clone(),
            claim.unit.to_string(),
            metric(claim.metric, claim.k),
            format!("{risk:.4}"),
            format!("{complexity_term:.4}"),
            format!("{sampling_term:.4}"),
            format!("{}{mark}", rounded_up(*bound)),
            format!("{vacuous_above:.4}"),
        ]);
    }
    let bits = &certificate.artifact.bits;
    let base = base(certificate);
    let effective = certificate.corpus.effective_documents.map_or_else(String::new, |clusters| {
        format!("; {clusters} clusters of near-duplicates in the training split")
    });
    let confidence = 100.0 * (1.0 - certificate.confidence.failure_probability);
    format!(
        "{table}\n\
         code length K      {} bits: {} coordinates, {} codebook, {} counts, {} header, {} padding, {} allocation, {} choice\n\
         certified text     {} documents, {} tokens{effective}\n\
         base               {base}\n\
         confidence         {confidence} % for all claims together",
        certificate.artifact.code_length,
        bits.symbols,
        bits.codebook,
        bits.counts,
        bits.header,
        bits.padding,
        bits.allocation,
        bits.configuration,
        certificate.corpus.documents,
        certificate.corpus.tokens,
    )
}

/// Parameters of a model, and of each of its widths.
pub(crate) fn parameters(counts: &ParameterCounts) -> String {
    let mut parts = new(["parameters", "count"]);
    for (name, value) in [
        ("base", counts.base),
        ("  token embedding", counts.token_embedding),
        ("  position embedding", counts.position_embedding),
        ("  matrices of the blocks", counts.matrices),
        ("  biases of the blocks", counts.biases),
        ("  norms", counts.norms),
        ("  head of its own", counts.head),
        ("added", counts.added),
        ("base and added", counts.base + counts.added),
        ("trained", counts.trained),
    ] {
        parts.add_row([name.to_owned(), count(value)]);
    }
    let mut widths = new(["bits", "adapters", "norms", "scales", ""]);
    for it in &counts.widths {
        let learned = if it.scales_are_learned { "learned" } else { "calibrated" };
        let [adapters, norms, scales] = [it.adapters, it.norms, it.scales].map(count);
        widths.add_row([it.bits.to_string(), adapters, norms, scales, learned.to_owned()]);
    }
    format!("{parts}\n\n{widths}")
}

/// Digits in groups of three.
pub(crate) fn count(value: u64) -> String {
    indicatif::HumanCount(value).to_string()
}

/// A model at each of its widths.
pub(crate) fn widths(records: &[WidthRecord]) -> String {
    let mut table = new([
        "bits",
        "inputs",
        "stride",
        "nats/token",
        "perplexity",
        "bits/weight",
        "BitOPs/token",
        "own parameters",
        "seconds",
    ]);
    for it in records {
        table.add_row([
            it.bits.to_string(),
            it.input_bits.to_string(),
            it.stride.to_string(),
            format!("{:.4}", it.nats_per_token),
            format!("{:.3}", it.perplexity),
            format!("{:.3}", it.bits_per_weight),
            format!("{:.3e}", it.bit_ops_per_token),
            it.own_parameters.to_string(),
            it.seconds.map_or_else(String::new, |it| format!("{it:.1}")),
        ]);
    }
    let text = records.first().map_or_else(String::new, |it| {
        let (documents, tokens, context) = (it.documents, it.tokens, it.context);
        format!("\nheld-out text      {documents} documents, {tokens} tokens, context {context}")
    });
    format!("{table}{text}")
}

/// What quantisation did to each tensor of a checkpoint, and which it left alone.
pub(crate) fn quantized(report: &QuantizedCheckpoint) -> String {
    let mut table = new([
        "quantised",
        "shape",
        "levels a group",
        "SQNR dB",
        "rel. error",
        "zeros",
        "clipped",
        "bits per weight",
    ]);
    let mut row = |name: &str, shape: String, it: &Distortion| {
        table.add_row([
            name.to_owned(),
            shape,
            it.levels.to_string(),
            format!("{:.2}", it.sqnr_db),
            format!("{:.4}", it.relative_error),
            format!("{:.4}", it.zeros),
            format!("{:.4}", it.clipped),
            format!("{:.4}", it.bits_per_value),
        ]);
    };
    for tensor in &report.quantized {
        let [rows, cols] = tensor.shape;
        let shape = match tensor.operand {
            Operand::Weight => format!("{rows} in x {cols} out"),
            _ => format!("{rows} out x {cols} in"),
        };
        row(&tensor.name, shape, &tensor.distortion);
    }
    if let Some(total) = &report.total {
        row("total", String::new(), total);
    }
    let mut untouched = new(["left alone", "shape", "type", "because"]);
    for tensor in &report.untouched {
        untouched.add_row([
            tensor.name.clone(),
            format!("{:?}", tensor.shape),
            tensor.dtype.clone(),
            tensor.reason.to_string(),
        ]);
    }
    let mut parts = Vec::new();
    if !report.quantized.is_empty() {
        parts.push(table.to_string());
    }
    if !report.untouched.is_empty() {
        parts.push(untouched.to_string());
    }
    let mut last = format!("whole checkpoint   {:.4} bits per value", report.bits_per_value);
    if !report.files_left_out.is_empty() {
        last = format!("{last}\nnot copied         {}", report.files_left_out.join(", "));
    }
    parts.push(last);
    parts.join("\n\n")
}

/// Where the base weights come from, and what that asks a reader to believe.
fn base(certificate: &Certificate) -> String {
    let base = &certificate.artifact.base;
    if base.is_external() {
        return "from elsewhere: all claims hold only if it never saw this text".to_owned();
    }
    match base.prior() {
        None => "random, from the seed".to_owned(),
        Some(Partition { fraction, .. }) => format!(
            "pretrained on {:.0} % of the training documents, which are not certified",
            100.0 * fraction
        ),
    }
}

/// Four digits, and never less than what is certified.
pub(crate) fn rounded_up(bound: f64) -> String {
    format!("{:.4}", sublora::bounds::round_up(bound, 4))
}

/// A metric in words.
pub(crate) fn metric(metric: MetricName, k: Option<u32>) -> String {
    match (metric, k) {
        (MetricName::TopKError, Some(k)) => format!("top-{k} error"),
        _ => "bits per token".to_owned(),
    }
}

/// What became of the spectra of a checkpoint, a line a variant.
pub(crate) fn spectra(checkpoint: &Path, folder: Option<&Path>, report: &SpectralReport) -> String {
    let summary = &report.summary;
    let mut table = new([
        "variant",
        "fitted",
        "without fit",
        "collapsed",
        "median alpha",
        "mean change",
        "stay in range",
        "Spearman",
        "beyond noise",
    ]);
    let number = |value: Option<f64>| value.map_or(String::new(), |it| format!("{it:.3}"));
    for NamedSummary { variant, summary: it } in &summary.variants {
        let is_original = *variant == summary.variants[0].variant;
        let of_variant = |text: String| if is_original { String::new() } else { text };
        table.add_row([
            variant.clone(),
            it.ok.to_string(),
            it.failed.to_string(),
            of_variant(it.collapsed.to_string()),
            number(it.after.map(|it| it.median)),
            of_variant(number(it.mean_change)),
            format!("{} of {}", it.stayed_in_range, it.compared),
            of_variant(number(it.spearman)),
            of_variant(format!("{} of {}", it.significant, it.tested)),
        ]);
    }
    let mut text = format!(
        "{}: {} of {} tensors analysed as {} matrices\n\n{table}",
        checkpoint.display(),
        summary.analysed,
        summary.tensors,
        summary.matrices
    );
    for (name, mean) in summary.plain_means.iter().filter_map(|(name, mean)| Some((name, (*mean)?)))
    {
        let _ = write!(text, "\n{name:<18} {mean:.4}   WeightWatcher's mean");
    }
    let left = report.coverage.iter().filter(|it| !it.note.is_empty());
    let lines: Vec<_> =
        left.map(|it| format!("\n{} ({}): {}", it.tensor, it.shape, it.note)).collect();
    text.extend(lines);
    if let Some(folder) = folder {
        let _ = write!(text, "\n\nreport             {}", folder.join("report.html").display());
    }
    text
}
