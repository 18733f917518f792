//! The whole demo against a router that goes wrong on purpose: each fault must be found, and named.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::fake::{Fake, Fault};
use super::report::Evidence;
use super::*;
use crate::page::Look;

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Plays for so long, and returns what there is to show for it, and what was printed.
async fn play(fault: Fault, length: Duration) -> Result<(Evidence, String)> {
    let folder = Arc::new(Folder::make(FIRST_UNIT).unwrap());
    let endpoint = Fake::start(&folder, fault).await;
    let paper = Paper::default();
    let screen = Arc::new(Screen::start(Look { live: false, colour: false }, paper.clone()));
    let memory_total = Proc::new().sample().unwrap().memory_total;
    let observer = Arc::new(Observer::new(Arc::clone(&screen), memory_total));
    let key = |name| format!("key of {name}");
    let keys = Keys { device: key(DEVICE), sensor: key(SENSOR), page: key(PAGE) };
    let mut stage =
        Stage::set(&keys, &endpoint, endpoint.clone(), &folder, Arc::clone(&screen), observer).await?;
    stage.patience = Duration::from_millis(500);
    let evidence = stage.play(Some(length), &CancellationToken::new()).await?;
    screen.finish();
    let printed = String::from_utf8(paper.0.lock().clone()).unwrap();
    Ok((evidence, printed))
}

async fn faults(fault: Fault) -> Vec<String> {
    // Long enough for a malformed batch, and with `Forgets` for a repeated one.
    let length = if fault == Fault::Forgets { 4_600 } else { 2_600 };
    play(fault, Duration::from_millis(length)).await.unwrap().0.faults()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_with_a_router_that_works() {
    let (evidence, printed) = play(Fault::None, Duration::from_secs(6)).await.unwrap();
    assert_eq!(evidence.faults(), Vec::<String>::new());
    let report = evidence.report();
    assert_eq!((report.lost, report.swaps, report.accepted), (0, 2, report.delivered));
    assert!(report.accepted > 60 && report.refused > 0 && evidence.tally.recognised > 0, "{report:?}");
    assert!(report.p50_us.is_some() && evidence.commands >= 2, "{evidence:?}");
    assert!(printed.contains("swapping json-map: MiB -> GiB") && printed.contains(DEVICE), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_found() {
    let wanted = [
        (Fault::Loses(9), "1 messages were accepted and not delivered"),
        (Fault::Doubles(9), "1 times: a message was delivered twice"),
        (Fault::Leaks(9), "1 times: a message that was turned away was delivered"),
        (Fault::TakesAll, "1 times: a malformed publish was accepted"),
        (Fault::Forgets, "1 times: a repeated publish was accepted once more"),
        (Fault::StoresNothing, "the storage plugin has not what was delivered last"),
    ];
    let runs = wanted.map(|(fault, text)| tokio::spawn(async move { (fault, text, faults(fault).await) }));
    for run in runs {
        let (fault, text, found) = run.await.unwrap();
        assert!(found.iter().any(|found| found.starts_with(text)), "{fault:?}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_order_is_found() {
    let found = faults(Fault::Delays(9)).await;
    assert_eq!(found, ["1 times: a message was delivered out of order"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_that_muddles_amounts_is_found() {
    let (evidence, _) = play(Fault::Muddles, Duration::from_secs(4)).await.unwrap();
    let found = evidence.faults();
    assert!(found.iter().any(|found| found.contains("an amount is wrong")), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_ends_the_demo() {
    let error = play(Fault::Breaks(9), Duration::from_secs(3)).await.unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("connection"), "{error}");
}
