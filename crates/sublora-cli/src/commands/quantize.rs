//! `sublora quantize`.

use sublora::QuantizeCheckpoint;
use sublora::quantizers::Half;

use crate::args::{Args, HalfArg, Quantize};
use crate::bars::Bars;
use crate::commands::Answer;
use crate::failure::Failure;
use crate::table;

pub(crate) fn run(args: &Args, quantize: &Quantize) -> Result<Answer, Failure> {
    let how = QuantizeCheckpoint {
        bits: quantize.bits,
        granularity: quantize.granularity,
        grid: quantize.grid.clone(),
        range: quantize.range.clone(),
        emulate: quantize.emulate.map(|half| match half {
            HalfArg::F16 => Half::F16,
            HalfArg::Bf16 => Half::Bf16,
        }),
        orientation: quantize.orientation.into(),
        quantize_embeddings: quantize.embeddings,
        skip: quantize.skip.clone(),
    };
    let how = how.overridden(&quantize.set).map_err(|error| {
        let hint = "`--set range.KEY=VALUE` and `--set grid.KEY=VALUE` change what `--range` and `--grid` name";
        Failure::new(error.to_string(), hint)
    })?;
    let report = how.run(&quantize.checkpoint, &quantize.out, &Bars::new())?;
    if args.json {
        Answer::json(&serde_json::json!({
            "settings": how,
            "path": quantize.out,
            "result": report,
        }))
    } else {
        Ok(Answer::done(table::quantized(&report)))
    }
}
