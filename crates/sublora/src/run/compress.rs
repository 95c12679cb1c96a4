//! From the best coordinates to `model.sublora`.

use std::num::NonZeroU8;
use std::path::Path;

use adapters::LoraGpt2;
use corpus::Sha256Hash;
use quantizers::CodedVector;

use super::Run;
use super::prepare::{Part, Prepared};
use crate::artifact::Artifact;
use crate::atomic::FileError;
use crate::config::TrainConfig;
use crate::schedule::LearningRate;
use crate::subspace::Subspace;
use crate::train::InSubspace;
use crate::{Error, atomic};

impl Run<'_> {
    /// Quantises and codes the best coordinates, after quantisation-aware training if the
    /// configuration asks for it, and writes `model.sublora`. With `resume`, that training goes on
    /// where an earlier call stopped, if it began from the same coordinates and levels.
    ///
    /// # Errors
    /// [`Error::Unfinished`] or [`Error::Untrained`] for a run whose training has not ended, one
    /// without a subspace or on another corpus, or what failed.
    pub fn compress(&self, resume: bool) -> Result<Artifact, Error> {
        if self.config.sublora.is_none() {
            let reason =
                "only coordinates of a subspace are coded; this run has no `[sublora]` table";
            return Err(Error::Config(reason.to_owned()));
        }
        let trainer = self.trainer(&self.config.train, "train");
        let (folder, steps) = (self.folder.clone(), self.config.train.steps);
        match trainer.steps_taken()? {
            None => return Err(Error::Unfinished { folder, what: "trained model" }),
            Some(step) if step < steps => return Err(Error::Untrained { folder, step, steps }),
            Some(_) => {}
        }
        self.provenance().check(&self.folder)?;
        let Prepared { spec, model, layout } = self.prepare()?;
        let Some(projector) = spec.projector(&layout)? else {
            return Err(Error::Mismatch("this run has no subspace".to_owned()));
        };
        let subspace = Subspace::new(&model, layout, projector)?;
        let mut trained = InSubspace::new(subspace, &self.config.train, &self.device);
        let model = trainer.restore_best(model, &mut trained)?;
        let compress = &self.config.compress;
        let levels = NonZeroU8::new(compress.levels).unwrap_or(NonZeroU8::MIN);
        let mut payload =
            quantizers::quantize(compress.codebook.as_dyn(), &trained.alpha()?, levels)?;
        if compress.qat_steps > 0 {
            payload = self.through_quantiser(model, trained, &payload, resume)?;
        }
        let artifact = Artifact { spec, payload };
        artifact.write(&self.artifact_path())?;
        Ok(artifact)
    }

    /// Quantisation-aware training from the coordinates `trained` and the levels of `start`.
    fn through_quantiser(
        &self,
        model: LoraGpt2,
        trained: InSubspace,
        start: &CodedVector,
        resume: bool,
    ) -> Result<CodedVector, Error> {
        let config = TrainConfig {
            steps: self.config.compress.qat_steps,
            learning_rate: LearningRate::constant(self.config.compress.qat_learning_rate),
            ..self.config.train.clone()
        };
        let alpha = trained.alpha()?;
        let centroids: Vec<f32> =
            start.codebook().centroids().iter().map(|it| it.to_f32()).collect();
        let trainer = self.trainer(&config, "qat");
        begin_from(&trainer.folder, &start_hash(&alpha, &centroids, &config)?)?;
        let subspace = trained.into_subspace();
        let mut parameters =
            InSubspace::through_quantiser(subspace, &alpha, &centroids, &config, &self.device);
        let model = parameters.place(model)?;
        let data = self.data(&config, Part::Certified)?;
        trainer.run("quantisation-aware training", model, &mut parameters, &data, resume)?;
        let centroids: Vec<f64> =
            parameters.centroids()?.unwrap_or_default().into_iter().map(f64::from).collect();
        Ok(CodedVector::nearest(&parameters.alpha()?, &centroids)?)
    }
}

/// What quantisation-aware training is a function of, besides the text and the seed of the run.
fn start_hash(alpha: &[f32], centroids: &[f32], config: &TrainConfig) -> Result<Sha256Hash, Error> {
    let bytes = |values: &[f32]| values.iter().flat_map(|it| it.to_le_bytes()).collect::<Vec<u8>>();
    let config = serde_json::to_vec(config).map_err(|error| Error::config(&error))?;
    let counts = [alpha.len() as u64, centroids.len() as u64].map(u64::to_le_bytes).concat();
    let tag = b"sublora qat 1";
    Ok(Sha256Hash::of(&[tag, &counts, &bytes(alpha), &bytes(centroids), &config]))
}

/// Empties `folder` unless what is in it began from `start`.
fn begin_from(folder: &Path, start: &Sha256Hash) -> Result<(), Error> {
    let (path, start) = (folder.join("start.sha256"), format!("{start}\n"));
    if std::fs::read(&path).is_ok_and(|found| found == start.as_bytes()) {
        return Ok(());
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(FileError::at("remove", folder))?;
    }
    std::fs::create_dir_all(folder).map_err(FileError::at("create", folder))?;
    Ok(atomic::write(&path, start.as_bytes())?)
}
