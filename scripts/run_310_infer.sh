#!/usr/bin/env bash
# The document's example calls run_infer_310.sh by this name.
exec bash "$(dirname "${BASH_SOURCE[0]}")/run_infer_310.sh" "$@"
