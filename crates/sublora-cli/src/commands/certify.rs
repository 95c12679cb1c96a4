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
    if run.certificate_path().exists() && !certify.replace {
        let message = format!("`{}` is already there", run.certificate_path().display());
        let hint = "`--replace` makes another; whoever quotes the best of several states their number as `certify.configurations`";
        return Err(Failure::new(message, hint));
    }
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
        let message = format!("`--set {other}` would change a run that is finished");
        let hint = "`certify` takes keys of the table `certify`, for example certify.seed=1";
        return Err(Failure::new(message, hint));
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
    let path = match &verify.certificate {
        folder if folder.is_dir() => folder.join("certificate.json"),
        file => file.clone(),
    };
    let corpus = verify.corpus.as_deref();
    let verification =
        sublora::verify(&path, corpus, device.as_ref(), &now, &bars).map_err(|error| {
            let failure = Failure::from(error);
            let hint = "the corpus, the artifact and the scores have to lie where they did, seen from the certificate; `--corpus DIR` says where the corpus is";
            if failure.is_missing { Failure { hint: hint.to_owned(), ..failure } } else { failure }
        })?;
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
