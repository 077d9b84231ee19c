mod audit;
fn main() {}
