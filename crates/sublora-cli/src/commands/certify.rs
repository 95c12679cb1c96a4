//! `sublora certify` and `sublora verify`.

use sublora::{Run, Units, Verification};

use crate::args::{Args, Certify, UnitArg, Verify};
use crate::bars::Bars;
use crate::commands::{Answer, corpora, now, open_run};
use crate::failure::Failure;
use crate::{device, table};

pub(crate) fn certify(args: &Args, certify: &Certify) -> Result<Answer, Failure> {
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
    let certificate = run.certify(0)?;
    if args.json {
        Answer::json(&certificate)
    } else {
        let path = run.certificate_path();
        Ok(Answer::done(format!("{}\n{}", table::certificate(&certificate), path.display())))
    }
}

pub(crate) fn verify(args: &Args, verify: &Verify) -> Result<Answer, Failure> {
    let bars = Bars::new();
    let device = if verify.full { Some(device::open(&args.device)?) } else { None };
    let verification = sublora::verify(&verify.certificate, device.as_ref(), &now, &bars)?;
    let (yes, sentence) = match &verification {
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
    let said = if args.json {
        Answer::json(&serde_json::json!({ "confirmed": yes, "reason": sentence }))?
    } else {
        Answer::done(sentence)
    };
    Ok(Answer { yes, ..said })
}
