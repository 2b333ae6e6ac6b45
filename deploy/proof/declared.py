"""What this run cannot show, each with its reason: a proof that skips in silence proves nothing."""

import rules
import traffic

NOTHING_BROKE = "nothing of the kind happens in a good run; the metric is in docs/metrics.md"

# Metrics that are not there. The first come from other programs, the others appear with their first event only. A query
# that names one may have no answer.
ABSENT = {
    "kube_daemonset_status_desired_number_scheduled": "kube-state-metrics",
    "kube_daemonset_status_number_ready": "kube-state-metrics",
    "kube_pod_container_status_restarts_total": "kube-state-metrics",
    "kube_replicaset_created": "kube-state-metrics",
    "weir_stack_backup_last_failure_timestamp_seconds": "the stack's backup job",
    "weir_stack_backup_last_success_timestamp_seconds": "the stack's backup job",
    "weir_breaks_total": NOTHING_BROKE,
    "weir_client_dropped_entries_total": NOTHING_BROKE,
    "weir_client_retries_total": NOTHING_BROKE,
    "weir_discovery_kubernetes_restarts_total": "no Kubernetes API is asked by config/kubernetes.yaml",
    "weir_files_refused_total": NOTHING_BROKE,
    "weir_label_values_limited_total": NOTHING_BROKE,
    "weir_metric_updates_refused_total": NOTHING_BROKE,
    "weir_targets_dropped_total": "every pod here is wanted",
}

# Panels, and single queries of panels (`/ B` at the end), that have no answer for another reason.
EMPTY = {}

# Alerts that the traffic wakes; the others must stay silent, but for those that are possible: how busy the machine is
# decides.
EXPECTED = {
    "IngressAuthFailuresHigh",
    "IngressBruteForce",
    "IngressBruteForceSlow",
    "IngressClientCallsALot",
    "IngressClientManyErrors",
    "IngressClientRateLimited",
    "IngressErrorBudgetBurn",
    "IngressLatencyHigh",
    "WafBlocksHigh",
    "WafClientBlocked",
    "WafRuleFalsePositiveSuspect",
}
POSSIBLE = set()

# Alerts of Loki's ruler that the traffic wakes.
EXPECTED_OF_LOKI = {"ClientForbidden", "WafClientAttacks", "WafRuleManyClients"}

# What a person would have chosen on the boards. The window of five minutes is as short here as it is in the rules.
CHOSEN = {"client_ip": traffic.ATTACKER, "window": f"{300 // rules.FACTOR}s"}
