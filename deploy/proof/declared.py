"""What this run cannot show, each with its reason: a proof that skips in silence proves nothing."""

import rules
import traffic

NOT_KUBERNETES = "there is no Kubernetes here"
NOTHING_BROKE = "nothing of the kind happens in a good run; the metric is in docs/metrics.md"

# Metrics that are not there. The first come from other programs, the others only appear with their first event.
ABSENT = {
    "kube_pod_container_status_restarts_total": "kube-state-metrics",
    "kube_daemonset_status_desired_number_scheduled": "kube-state-metrics",
    "kube_daemonset_status_number_ready": "kube-state-metrics",
    "weir_stack_backup_last_success_timestamp_seconds": "the stack's backup job",
    "weir_stack_backup_last_failure_timestamp_seconds": "the stack's backup job",
    "weir_breaks_total": NOTHING_BROKE,
    "weir_client_dropped_entries_total": NOTHING_BROKE,
    "weir_label_values_limited_total": NOTHING_BROKE,
}

# Panels whose queries have no answer.
EMPTY = {}

# Alerts that the traffic wakes, and those that it may wake, depending on how busy the machine is.
EXPECTED = {
    "IngressBruteForce",
    "IngressClientCallsALot",
    "IngressClientManyErrors",
    "IngressClientRateLimited",
    "IngressErrorBudgetBurn",
    "WafClientBlocked",
}
POSSIBLE = {"IngressBruteForceSlow", "IngressLatencyHigh", "WafRuleFalsePositiveSuspect"}

# What a person would have chosen on the boards. The window of five minutes is as short here as it is in the rules.
CHOSEN = {"client_ip": traffic.ATTACKER, "window": f"{300 // rules.FACTOR}s"}
