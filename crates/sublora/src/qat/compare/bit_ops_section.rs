//! What training and running cost, beside the loss.

use quantizers::BitWidth;
use report::{
    Axis, Estimate, Mark, Point, Reference, Section, Series, Size, Svg, XyChart, significant,
};

use super::QatComparison;
use super::loss_section::is_near;
use super::methods::{Learned, Method};
use crate::sweep::Spread;
use crate::sweep_report::estimate;

const LOSS: &str = "held-out loss, nats per token";
const FRONTIER: &str = "Pareto frontier";

impl QatComparison {
    pub(super) fn bit_ops_section(&self) -> Section {
        let mut section = Section::new("BitOPs against loss").prose(
            "A multiplication of numbers of a and b bits is a · b BitOPs; those of a training are of its \
             forward and backward passes and of its teachers. Marks are means over the seeds, with bars \
             from the lowest to the highest. The steps join the points than which none has both fewer \
             BitOPs and a lower loss; whether two of them differ by more than chance is for the tests to \
             say. A method without training has a line where that leaves room for the rest.",
        );
        let common = self.common_bits();
        if common.is_empty() {
            section = section.prose("No width below 32 is one that all methods were evaluated at.");
        } else {
            let widths: Vec<String> = common.iter().map(ToString::to_string).collect();
            let caption = format!(
                "The loss is the mean over {} bits, where all methods were evaluated; the BitOPs are those \
                 of all the runs that this takes: one, or in a family at one width each, one for each width.",
                widths.join(", ")
            );
            section = section.chart(self.overall(&common), caption);
        }
        section = section.prose("Each width by itself, with the run that has it:");
        for bits in self.bits().into_iter().filter(|it| !it.is_full()) {
            section = section.chart(self.training(bits), "");
        }
        section
            .prose("And what a model costs when it runs:")
            .chart(self.inference("All methods", Learned::Nothing), "")
            .chart(self.inference("Those that were trained", Learned::OneWidth), "")
    }

    /// A model for all widths.
    fn overall(&self, bits: &[BitWidth]) -> Svg {
        let overall = |method: &Method<'_>| {
            let seeds = method.seeds();
            let found = seeds.iter().filter_map(|&it| method.overall(it, bits, self.stride()));
            let (costs, losses): (Vec<f64>, Vec<f64>) = found.unzip();
            point(&costs, &losses, method.name.to_owned())
        };
        let without = |method: &Method<'_>| {
            let nats = bits.iter().map(|&bits| estimate(&method.nats(bits, self.stride())));
            let nats: Option<Vec<f64>> = nats.map(|it| Some(it?.value)).collect();
            Some(Spread::of(&nats?)?.mean)
        };
        self.against_training(
            "One model, or one family of models, for all widths",
            Size::WIDE,
            overall,
            without,
        )
    }

    /// A model for one width.
    fn training(&self, bits: BitWidth) -> Svg {
        let at_width = |method: &Method<'_>| {
            let found = method.at(bits, self.stride());
            let found =
                found.filter_map(|(run, it)| Some((run.training_bit_ops()?, it.nats_per_token)));
            let (costs, losses): (Vec<f64>, Vec<f64>) = found.unzip();
            point(&costs, &losses, format!("{}, {bits} bits", method.name))
        };
        let without =
            |method: &Method<'_>| Some(estimate(&method.nats(bits, self.stride()))?.value);
        self.against_training(&format!("{bits} bits"), Size::HALF, at_width, without)
    }

    /// The methods with a `point` each; those without training at a loss each.
    fn against_training(
        &self,
        title: &str,
        size: Size,
        point: impl Fn(&Method<'_>) -> Option<Point>,
        without: impl Fn(&Method<'_>) -> Option<f64>,
    ) -> Svg {
        let methods = self.methods();
        let (untrained, trained): (Vec<&Method<'_>>, Vec<_>) =
            methods.iter().partition(|it| it.learned == Learned::Nothing);
        let points: Vec<_> = trained.iter().filter_map(|it| Some((it, point(it)?))).collect();
        let frontier = Series::frontier(FRONTIER, points.iter().map(|(_, it)| (it.x, it.y)));
        let losses: Vec<f64> = points.iter().map(|it| it.1.y).collect();
        let line = |method: &&Method<'_>| {
            let at = without(method).filter(|&at| is_near(at, &losses))?;
            Some(Reference::Horizontal {
                at,
                label: format!("{}, {}", method.name, significant(at, 4)),
            })
        };
        let series = points.into_iter().map(|(method, point)| {
            Series::new(method.name, Mark::Points, [point]).look(method.look())
        });
        let chart = XyChart {
            title: title.to_owned(),
            x: Axis::log("BitOPs of the training"),
            y: Axis::linear(LOSS),
            series: series.chain([frontier]).collect(),
            references: untrained.iter().filter_map(line).collect(),
            size,
        };
        chart.to_svg()
    }

    /// Of methods that learned at least so much; a point a width.
    fn inference(&self, title: &str, least: Learned) -> Svg {
        let (bits, mut methods) = (self.bits(), self.methods());
        methods.retain(|it| it.learned >= least);
        let points = |method: &Method<'_>| -> Vec<Point> {
            let at = |&bits: &BitWidth| {
                let found = method.at(bits, self.stride());
                let found = found.map(|it| (it.1.bit_ops_per_token / 1e9, it.1.nats_per_token));
                let (costs, losses): (Vec<f64>, Vec<f64>) = found.unzip();
                point(&costs, &losses, format!("{}, {bits} bits", method.name))
            };
            bits.iter().filter_map(at).collect()
        };
        let series: Vec<Series> = methods
            .iter()
            .map(|it| Series::new(it.name, Mark::LineAndPoints, points(it)).look(it.look()))
            .collect();
        let all = series.iter().flat_map(|it| &it.points).map(|it| (it.x, it.y));
        let frontier = Series::frontier(FRONTIER, all);
        let chart = XyChart {
            title: title.to_owned(),
            x: Axis::log("GBitOPs of a forward pass, per token"),
            y: Axis::linear(LOSS),
            series: series.into_iter().chain([frontier]).collect(),
            ..XyChart::default()
        };
        chart.to_svg()
    }
}

/// The means, with the losses from the lowest to the highest; none of nothing.
fn point(costs: &[f64], losses: &[f64], name: String) -> Option<Point> {
    let Estimate { value, interval } = estimate(losses)?;
    let x = Spread::of(costs)?.mean;
    Some(Point { x, y: value, y_interval: interval, name, ..Point::default() })
}
