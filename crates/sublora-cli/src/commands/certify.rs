//! `sublora certify` and `sublora verify`.

use std::process::ExitCode;

use sublora::{Run, Units, Verification};

use crate::args::{Args, Certify, UnitArg, Verify};
use crate::bars::Bars;
use crate::commands::{corpora, now, open_run, print_json};
use crate::failure::Failure;
use crate::{device, table};

pub(crate) fn certify(args: &Args, certify: &Certify) -> Result<ExitCode, Failure> {
    let corpus = corpora::open(&certify.corpus)?;
    let mut config = Run::read_config(&certify.run)?;
    match certify.unit {
        None => {}
        Some(UnitArg::Document) => config.certify.unit = Units::Document,
        Some(UnitArg::Token) => config.certify.unit = Units::Token,
        Some(UnitArg::Both) => config.certify.unit = Units::Both,
    }
    if let Some(sample) = certify.sample {
        (config.certify.documents, config.certify.positions) = (sample.0, sample.0);
    }
    let bars = Bars::new();
    let run = open_run(args, &certify.run, config, &corpus, &bars)?;
    if !run.artifact_path().exists() {
        let message = format!("`{}` holds no `model.sublora`", certify.run.display());
        return Err(Failure::new(message).with_hint("`sublora compress RUN --corpus DIR` makes it"));
    }
    let certificate = run.certify(0)?;
    if args.json {
        print_json(&certificate)?;
    } else {
        println!("{}", table::certificate(&certificate));
        println!("{}", run.certificate_path().display());
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn verify(args: &Args, verify: &Verify) -> Result<ExitCode, Failure> {
    let bars = Bars::new();
    let device = if verify.full { Some(device::open(&args.device)?) } else { None };
    let verification = sublora::verify(&verify.certificate, device.as_ref(), &now, &bars)?;
    let (confirmed, sentence) = match &verification {
        Verification::Confirmed { certificate, rescored: 0, .. } => {
            let claims = certificate.bounds.len();
            (
                true,
                format!(
                    "confirmed: {claims} claims follow from the artifact, the corpus and the scores"
                ),
            )
        }
        Verification::Confirmed { certificate, rescored, largest_difference } => {
            let claims = certificate.bounds.len();
            let sentence = format!(
                "confirmed: {claims} claims, {rescored} tokens evaluated again, largest difference {largest_difference:.1e} nats"
            );
            (true, sentence)
        }
        Verification::Refuted(reason) => (false, format!("refuted: {reason}")),
    };
    if args.json {
        print_json(&serde_json::json!({ "confirmed": confirmed, "reason": sentence }))?;
    } else {
        println!("{sentence}");
    }
    Ok(if confirmed { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
