//! Every scene of the table gives its events, with the filter and without.

use http_trace_engine::host_filter::Faults;
use http_trace_tests::judged::{filtered, is_truth, plain, same};
use http_trace_tests::scenes;
use http_trace_tests::tcp::{Layout, Path, frames, segments};

#[test]
fn every_scene_is_judged_by_its_truth() {
    let mut wrong = Vec::new();
    for scene in scenes::all() {
        for (name, layout) in [
            ("plain", Layout::default()),
            ("coalesced", Layout { coalesce: true, ..Layout::default() }),
            ("small", Layout { cuts: vec![37], ..Layout::default() }),
            ("large", Layout { cuts: vec![60_000], ..Layout::default() }),
        ] {
            // After a loss of framing, only the beginning of a segment resynchronises.
            let odd = ["conflicting_lengths", "negative_length", "huge_length"];
            if odd.contains(&scene.name) && name != "plain" && name != "large" {
                continue;
            }
            let frames = frames(&Path::v4(40_000), &segments(&scene, &layout));
            let all = plain(&frames);
            if let Err(error) = is_truth(&all, &scene.truth) {
                wrong.push(format!("{} {name}: {error}", scene.name));
            }
            let (some, _) = filtered(&frames, Faults::default());
            if let Err(error) = same(&all, &some) {
                wrong.push(format!("{} {name}, filtered: {error}", scene.name));
            }
            if some.stats.unended != all.stats.unended {
                wrong.push(format!("{} {name}, filtered: another end", scene.name));
            }
            if some.stats.filter_disagrees > 0 {
                wrong.push(format!("{} {name}: filter_disagrees", scene.name));
            }
        }
    }
    let shown: Vec<_> = wrong.iter().map(|w| w.chars().take(1500).collect::<String>()).collect();
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), shown.join("\n\n"));
}
