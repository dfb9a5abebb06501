# Completion of torfluxd for bash; made by: torfluxd completion bash
_torfluxd() {
    local command=${COMP_WORDS[1]} words=""
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    # bash takes --option=value for three words.
    if [[ $current == = ]]; then
        current=""
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD-2]}
    fi
    if ((COMP_CWORD == 1)); then
        words="serve agent demo completion key schema spool status testnet --help --version"
    else
        case "$command $previous" in
            "serve --influxdb"|"serve --influxdb-org"|"serve --influxdb-user"|"serve --timeout"|"serve --spool-limit"|"serve --admin"|"serve --listen"|"serve --tor-option"|"serve --workers"|"serve --onionbalance"|"serve --database"|"serve --retention-policy"|"serve --max-age"|"serve --max-ahead"|"serve --max-body-bytes"|"serve --max-inflated-bytes"|"agent --onion"|"agent --listen"|"agent --allow-host"|"agent --database"|"agent --retention-policy"|"agent --granularity"|"agent --interval"|"agent --spool-limit"|"status --admin"|"testnet --voting-seconds") return ;;
            "serve --influxdb-api"|"agent --influxdb-api") words="v1 v2 v3" ;;
            "serve --influxdb-token-file"|"serve --influxdb-password-file"|"serve --tor-binary"|"serve --onion-key"|"serve --onion-socket"|"serve --config"|"agent --schema"|"agent --tor-binary"|"agent --client-key"|"agent --config"|"demo --tor-binary"|"testnet --tor-binary") _torfluxd_names -f; return ;;
            "serve --tor"|"agent --tor") words="launch" ;;
            "serve --state-dir"|"serve --authorized-clients"|"agent --state-dir"|"spool --state-dir"|"status --state-dir"|"testnet --directory") _torfluxd_names -d; return ;;
            "serve --expose") words="write all" ;;
            "serve --log-format") words="text json" ;;
            "serve --log-level") words="debug info warn error critical" ;;
            "agent --statsd") words="udp" ;;
        esac
        [[ -n $words ]] || case "$command $COMP_CWORD" in
            "completion 2") words="bash zsh --help" ;;
            "key 2") words="new address show client --help" ;;
            "schema 2") words="suggest --help" ;;
            "spool 2") words="show retry drop --state-dir --all --json --help" ;;
        esac
        [[ -n $words ]] || case $command in
            serve) words="--influxdb --influxdb-api --influxdb-org --influxdb-token-file --influxdb-user --influxdb-password-file --tor --tor-binary --state-dir --onion-key --onion-socket --timeout --spool-limit --admin --admin-allow-remote --expose --listen --tor-option --authorized-clients --workers --onionbalance --printkey --database --retention-policy --max-age --max-ahead --max-body-bytes --max-inflated-bytes --config --check --sample-config --log-format --log-level --help --version" ;;
            agent) words="--onion --listen --listen-allow-remote --allow-host --statsd --database --retention-policy --influxdb-api --schema --granularity --interval --tor --tor-binary --client-key --state-dir --spool-limit --config --check --sample-config --help --version" ;;
            demo) words="--tor-binary --once --json --public --help" ;;
            completion) words="--help" ;;
            key) words="--help" ;;
            schema) words="--help" ;;
            spool) words="--state-dir --all --json --help" ;;
            status) words="--state-dir --admin --json --health --ready --help" ;;
            testnet) words="--directory --tor-binary --voting-seconds --json --help" ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    if ((COMP_CWORD > 2)) && [[ $command == @(key|schema) && $current != -* ]]; then
        _torfluxd_names -f
    fi
}
_torfluxd_names() {
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen "$1" -- "$current")
}
complete -F _torfluxd torfluxd
