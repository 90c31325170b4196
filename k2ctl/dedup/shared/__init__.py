"""The shared tier of deduplication: ids of the last hour, claimed by all consumers in one store before they commit."""
