//! `sublora certify` and `sublora verify`.

use sublora::{Run, Verification};

use crate::args::{Args, Certify, Sample, UnitArg, Verify};
use crate::bars::Bars;
use crate::commands::{Answer, corpora, now, open_run};
use crate::failure::Failure;
use crate::{device, table};

pub(crate) fn certify(args: &Args, certify: &Certify) -> Result<Answer, Failure> {
    let corpus = corpora::open(&certify.corpus)?;
    let config = Run::read_config(&certify.run, &overrides(certify)?)?;
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

/// The options as keys of the configuration.
fn overrides(certify: &Certify) -> Result<Vec<String>, Failure> {
    let mut overrides = certify.set.clone();
    if let Some(other) = overrides.iter().find(|it| !it.starts_with("certify.")) {
        return Err(Failure::new(format!("`--set {other}` would change a run that is finished"))
            .with_hint("`certify` takes keys of the table `certify`, for example certify.seed=1"));
    }
    if let Some(unit) = certify.unit {
        let unit = match unit {
            UnitArg::Document => "document",
            UnitArg::Token => "token",
            UnitArg::Both => "both",
        };
        overrides.push(format!("certify.unit={unit}"));
    }
    match certify.sample {
        None => {}
        Some(Sample(None)) => {
            let all = ["documents=all", "positions=all", "scored=whole"];
            overrides.extend(all.map(|it| format!("certify.{it}")));
        }
        Some(Sample(Some(size))) => {
            overrides.extend(["documents", "positions"].map(|it| format!("certify.{it}={size}")));
        }
    }
    Ok(overrides)
}

pub(crate) fn verify(args: &Args, verify: &Verify) -> Result<Answer, Failure> {
    let bars = Bars::new();
    let device = if verify.full { Some(device::open(&args.device)?) } else { None };
    let verification = sublora::verify(&verify.certificate, device.as_ref(), &now, &bars)?;
    let (certificate, sentence) = match &verification {
        Verification::Refuted(reason) => (None, format!("refuted: {reason}")),
        Verification::Confirmed { certificate, rescored, largest_difference } => {
            let claims = certificate.bounds.len();
            let sentence = match rescored {
                0 => format!(
                    "confirmed: {claims} claims follow from the artifact, the corpus and the scores"
                ),
                _ => format!(
                    "confirmed: {claims} claims, {rescored} tokens evaluated again, largest difference {largest_difference:.1e} nats"
                ),
            };
            (Some(certificate), sentence)
        }
    };
    let yes = certificate.is_some();
    let said = if args.json {
        Answer::json(&serde_json::json!({
            "confirmed": yes,
            "reason": sentence,
            "certificate": certificate,
        }))?
    } else {
        let table = certificate.map(|it| format!("\n\n{}", table::certificate(it)));
        Answer::done(sentence + &table.unwrap_or_default())
    };
    Ok(Answer { yes, ..said })
}
