//! `sublora spectral`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sublora::spectral::{Bootstrap, Comparison, Estimation, Farms, Mode, RowSubsampling};
use sublora::{Kernels, SpectralReport, SpectralStudy};

use crate::args::{Args, KernelsArg, ModeArg, Spectral};
use crate::bars::Bars;
use crate::commands::Answer;
use crate::failure::Failure;
use crate::table;

pub(crate) fn run(args: &Args, spectral: &Spectral) -> Result<Answer, Failure> {
    let study = study(spectral).overridden(&spectral.set).map_err(|error| {
        Failure::new(error, "`summary.json` of an analysis holds all its settings")
    })?;
    let folders = folders(spectral)?;
    let unknown = |message| {
        Failure::new(message, "a variant is `original` or like `4bit-tensor`; see `summary.json`")
    };
    // Before the work, not after it.
    spectral.fail_on.iter().try_for_each(|gate| gate.check(&study)).map_err(unknown)?;
    let (bars, mut reports, mut violations) = (Bars::new(), Vec::new(), Vec::new());
    for (checkpoint, folder) in spectral.checkpoint.iter().zip(folders) {
        let cache = folder.as_ref().map(|it| it.join("cache"));
        let report = study.run(checkpoint, cache.as_deref(), &bars)?;
        if let Some(folder) = &folder {
            report.write(folder)?;
        }
        for gate in &spectral.fail_on {
            let found = gate.violations(&report.summary).map_err(unknown)?;
            violations
                .extend(found.into_iter().map(|it| format!("{}: {it}", checkpoint.display())));
        }
        reports.push((checkpoint, folder, report));
    }
    let yes = violations.is_empty();
    let mut answer = if args.json {
        let of = |(checkpoint, folder, report): &(&PathBuf, Option<PathBuf>, SpectralReport)| {
            serde_json::json!({
                "checkpoint": checkpoint,
                "path": folder,
                "summary": report.summary,
                "coverage": report.coverage,
            })
        };
        let checkpoints: Vec<_> = reports.iter().map(of).collect();
        Answer::json(&serde_json::json!({
            "settings": study,
            "checkpoints": checkpoints,
            "violations": violations,
        }))?
    } else {
        let of = |(checkpoint, folder, report): &(&PathBuf, Option<PathBuf>, SpectralReport)| {
            table::spectra(checkpoint, folder.as_deref(), report)
        };
        let tables: Vec<String> = reports.iter().map(of).collect();
        let lines = violations.iter().map(|it| format!("\n{it}"));
        Answer::done(tables.join("\n\n") + &lines.collect::<String>())
    };
    answer.yes = yes;
    Ok(answer)
}

fn study(spectral: &Spectral) -> SpectralStudy {
    let mut farms = Farms::default();
    if spectral.no_farms {
        farms.per_side = 0;
    }
    SpectralStudy {
        mode: match spectral.mode {
            ModeArg::Strict => Mode::Strict,
            ModeArg::Compat => Mode::Compat,
        },
        widths: spectral.quantize.clone(),
        granularities: spectral.granularity.clone(),
        orientation: spectral.orientation.into(),
        kernels: match spectral.kernels {
            KernelsArg::Pooled => Kernels::Pooled,
            KernelsArg::Slices => Kernels::Slices,
            KernelsArg::Flat => Kernels::Flat,
        },
        split_qkv: spectral.split_qkv,
        skip: spectral.skip.clone(),
        clip_xmax: spectral.clip_xmax,
        mp_fit: spectral.mp_fit,
        randomize: spectral.randomize,
        estimation: Estimation {
            farms,
            bootstrap: Bootstrap { replicates: spectral.bootstrap, ..Bootstrap::default() },
            ..Estimation::default()
        },
        comparison: Comparison {
            noise_replicates: spectral.noise,
            rows: RowSubsampling { replicates: spectral.paired, ..RowSubsampling::default() },
            ..Comparison::default()
        },
        seed: spectral.seed,
        ..SpectralStudy::default()
    }
}

/// Where the results of each checkpoint go.
fn folders(spectral: &Spectral) -> Result<Vec<Option<PathBuf>>, Failure> {
    let Some(out) = &spectral.out else { return Ok(vec![None; spectral.checkpoint.len()]) };
    if let [_] = spectral.checkpoint[..] {
        return Ok(vec![Some(out.clone())]);
    }
    let name = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_owned();
    let names: Vec<_> = spectral.checkpoint.iter().map(|path| name(path)).collect();
    let distinct: BTreeSet<_> = names.iter().collect();
    if distinct.len() < names.len() {
        let message = "two checkpoints have the same name, expected a folder for each";
        return Err(Failure::new(message, "analyse them one by one, each with its `--out`"));
    }
    Ok(names.into_iter().map(|name| Some(out.join(name))).collect())
}
