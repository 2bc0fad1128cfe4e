//! Several requests in one body, answered by an array in their order.
//!
//! ```text
//! [request, …] ─▶ all planned, their costs added up ─▶ queries at once │ one after the other ─▶ [result, …]
//! ```
//!
//! Each is an operation like any other, with limits debited of its own: what is wrong with one is told in its place,
//! and the others go on. Where one of them changes something, none begins before the former has ended.

use std::sync::Arc;

use super::{Answer, Refusal, planned};
use crate::frontend::Exchange;
use crate::frontend::graphql::{self as http_graphql, Opening, Parameters};
use crate::gateway::Worker;
use crate::gateway::meter::Tally;
use crate::graphql::document::{Code, Problem};
use crate::graphql::model::Operation as Kind;
use crate::graphql::plan::Operation;
use crate::snapshot::Graphql;
use crate::stage::operation::all;

/// So many queries of one batch are executed at once.
const OPERATIONS_AT_ONCE: usize = 10;

impl Worker {
    /// Executes the requests of a batch.
    ///
    /// # Errors
    ///
    /// `COST_LIMIT`: together they may reply with too much. The client names a deadline that is none.
    pub(super) async fn batch(
        &self,
        exchange: &mut Exchange,
        tally: &Tally,
        graphql: &Graphql,
        requests: &[Parameters],
    ) -> Result<Answer, Refusal> {
        let snapshot = Arc::clone(&exchange.snapshot);
        let plan = |parameters| match planned(&snapshot, graphql, parameters) {
            Ok(operation) if operation.kind == Kind::Subscription => {
                Err(http_graphql::only_as_events().into())
            }
            planned => planned,
        };
        let operations: Vec<Result<Operation, Refusal>> = requests.iter().map(plan).collect();
        let costs = operations.iter().flatten().flat_map(|operation| &operation.roots).map(|root| root.cost);
        let (cost, cost_max) = (costs.fold(0, u64::saturating_add), graphql.bounds.cost_max);
        if cost > cost_max {
            let message = format!("the batch may reply with {cost} objects, at most {cost_max} are allowed");
            return Err(Problem::nowhere(Code::CostLimit, message).into());
        }
        let changes = operations.iter().flatten().any(|operation| operation.kind == Kind::Mutation);
        let opening = Opening::new(exchange)?;
        let (exchange, opening) = (&*exchange, &opening);
        let results = operations.into_iter().map(|operation| {
            Box::pin(async move {
                let result = match operation {
                    Ok(operation) => {
                        let result = self.result(exchange, tally, graphql, opening, &operation).await;
                        result.map_err(Refusal::from)
                    }
                    Err(refusal) => Err(refusal),
                };
                let refused = |refusal: Refusal| {
                    [br#"{"errors":"#, &*refusal.errors(&exchange.snapshot), b"}"].concat()
                };
                result.unwrap_or_else(refused)
            })
        });
        let results = all(results.collect(), if changes { 1 } else { OPERATIONS_AT_ONCE }).await;
        Ok(Answer::Whole([b"[", &*results.join(&b','), b"]"].concat()))
    }
}
