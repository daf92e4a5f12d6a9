//! The store behind its channel.
use super::*;
use crate::store::thread::{OwnedInput, start};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn many_callers_are_answered_and_their_changes_are_there() {
    let mut village = Village::new();
    let (handle, _failure) = start(village.store.take().unwrap(), Box::new(|| NOW_S), None);
    let mut activity = handle.activity();
    runtime().block_on(async {
        let local = tokio::task::LocalSet::new();
        for device in 1..=50 {
            let handle = handle.clone();
            local.spawn_local(async move {
                let key = (PLACE, row(device));
                let insert = change(DeviceId(device), 1, Op::Insert, key, vec![add(2, 1)]);
                handle.intake(batch(vec![insert])).await.unwrap();
            });
        }
        local.await;
        activity.changed().await.unwrap();
        village.program().execute_batch("UPDATE place SET stock = 9").unwrap();
        let feed = handle.feed(PHONE, Default::default()).await;
        assert_eq!(feed.rows.len(), 50, "drained before it is fed");
        assert!(feed.rows.iter().all(|row| row.fields == [(2, Value::Int(9))]));
        let answer = handle.round(OwnedInput::Begin { delegate: false, urgent: false }).await;
        assert!(!answer.idle && !answer.messages.is_empty());
        let glance = handle.glance().await;
        assert_eq!((glance.waiting, glance.hub_offset_s), (100, None));
        assert_eq!(pending(&handle.status().await), [("place", 100)]);
    });
}

#[test]
fn a_failing_store_says_so_once() {
    let mut village = Village::new();
    let (handle, failure) = start(village.store.take().unwrap(), Box::new(|| NOW_S), None);
    let vandal = village.program();
    vandal.execute_batch("DROP TABLE wadi_known").unwrap();
    let insert = change(PHONE, 1, Op::Insert, (PLACE, row(1)), vec![]);
    runtime().block_on(async {
        tokio::select! {
            _ = handle.intake(batch(vec![insert])) => panic!("answered"),
            error = failure => assert!(error.unwrap().to_string().contains("wadi_known")),
        }
    });
}

#[test]
fn a_hung_thread_does_not_live() {
    let mut village = Village::new();
    let hang = std::sync::Arc::new(std::sync::Mutex::new(()));
    let held = hang.lock().unwrap();
    let waits = hang.clone();
    let clock = move || {
        let () = *waits.lock().unwrap();
        NOW_S
    };
    let (handle, _failure) = start(village.store.take().unwrap(), Box::new(clock), None);
    let patience = std::time::Duration::from_millis(300);
    runtime().block_on(async {
        handle.lives().await;
        let stuck = tokio::spawn({
            let handle = handle.clone();
            async move { handle.drain().await }
        });
        tokio::task::yield_now().await;
        // The beat of the question before may come late; none follows it.
        let _ = tokio::time::timeout(patience, handle.lives()).await;
        assert!(tokio::time::timeout(patience, handle.lives()).await.is_err(), "it hangs");
        drop(held);
        handle.lives().await;
        stuck.await.unwrap();
    });
}

/// Whoever asks without end has one question open at a time, like anybody else: while
/// a modest handheld waits for one answer, each greedy one gets a few, never many.
#[test]
fn greedy_askers_do_not_starve_a_modest_one() {
    const GREEDY: u64 = 31;
    const TURNS_MAX: u64 = 4;
    let mut village = Village::new();
    let (handle, _failure) = start(village.store.take().unwrap(), Box::new(|| NOW_S), None);
    let answered = std::rc::Rc::new(std::cell::Cell::new(0u64));
    runtime().block_on(async {
        let local = tokio::task::LocalSet::new();
        for device in 1..=GREEDY {
            let (handle, answered) = (handle.clone(), answered.clone());
            local.spawn_local(async move {
                for seq in 1.. {
                    let key = (PLACE, row(device * 1_000_000 + seq));
                    let insert = change(DeviceId(device), seq, Op::Insert, key, vec![add(2, 1)]);
                    handle.intake(batch(vec![insert])).await.unwrap();
                    answered.set(answered.get() + 1);
                }
            });
        }
        let modest = async {
            // Only when the crowd is at it.
            while answered.get() < GREEDY * 3 {
                tokio::task::yield_now().await;
            }
            for seq in 1..=20 {
                let before = answered.get();
                let insert = change(PHONE, seq, Op::Insert, (PLACE, row(seq)), vec![add(2, 1)]);
                handle.intake(batch(vec![insert])).await.unwrap();
                let taken = answered.get();
                handle.fates(vec![(PHONE, PHONE_RUN, 1, seq)]).await;
                let told = answered.get();
                for overtaken in [taken - before, told - taken] {
                    assert!(overtaken <= GREEDY * TURNS_MAX, "overtaken {overtaken} times");
                }
            }
        };
        local.run_until(modest).await;
    });
}

/// The ledger beside a gateway that takes changes in is one picture: its columns add up.
#[test]
fn the_ledger_balances_while_changes_come() {
    let insert = |seq| change(PHONE, seq, Op::Insert, (PLACE, row(seq)), vec![add(2, 1)]);
    let mut village = Village::new();
    let ended = std::sync::atomic::AtomicBool::new(false);
    let path = village.path.clone();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut looks = 0;
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                let ledger = ledger::read(&path).unwrap();
                assert_eq!(ledger.faults, [""; 0], "after {looks} looks");
                looks += 1;
            }
            looks
        });
        // A long table to count takes long enough to be written to meanwhile.
        let many = (1..=2_000).map(insert).collect();
        village.take(many);
        for seq in 2_001..=2_200 {
            if reader.is_finished() {
                break;
            }
            village.take(vec![insert(seq)]);
        }
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reader.join().unwrap() > 1);
    });
}
