use std::time::Instant;
use model::*;
fn main() {
    let args: Vec<u8> = std::env::args().skip(1).map_while(|a| a.parse().ok()).collect();
    if let [c, l, b] = args[..] {
        let now = Instant::now();
        let happened = Happened::default();
        let v = check(Budget { changes: c, losses: l, behind: b }, &happened);
        println!("{c} {l} {b}: {} states, {:?}", v.states, now.elapsed());
        if let Some(story) = v.broken { println!("{:?}", story.broken); for s in story.steps { println!("- {s}"); } }
        println!("{}", happened.tables());
        return;
    }
    let only = std::env::args().nth(1);
    for &(fault, law, title) in Fault::ALL {
        if only.as_ref().is_some_and(|o| *o != format!("{fault:?}")) { continue; }
        let now = Instant::now();
        println!("### {fault:?}: {title} ({law:?})");
        match shortest_story(fault, law) {
            Some(story) => { for s in &story.steps { println!("- {s}"); } println!("{:?}", story.broken); }
            None => println!("NOT FOUND"),
        }
        eprintln!("{fault:?} {:?}", now.elapsed());
    }
}
