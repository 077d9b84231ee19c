# Starts a PostgreSQL server in the directory $1 on port $2, and stops it at the end of the input.
set -e
cd "$1"
"$0/initdb" -D data -U postgres -A trust -N >log 2>&1
"$0/pg_ctl" -D data -l log -w -t 600 -o "-c port=$2 -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories=$1 -c max_connections=300" start >>log 2>&1
touch started
cat >/dev/null
"$0/pg_ctl" -D data -m immediate stop >>log 2>&1
rm -rf data
