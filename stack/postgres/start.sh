# PostgreSQL in a container, as whatever user it was started with. A new volume gets its cluster and the database k2
# beside, and both move in place together: a start that was cut off leaves nothing half made.
set -eu
volume=/var/lib/postgresql/data

if [ ! -e "$volume/cluster/PG_VERSION" ]; then
  rm -rf "$volume/new"
  # initdb wants its user to have a name; that of the container's user is nowhere but here.
  echo "k2:x:$(id -u):$(id -g)::/tmp:/bin/sh" >/tmp/passwd
  echo "k2:x:$(id -g):" >/tmp/group
  export LD_PRELOAD=libnss_wrapper.so NSS_WRAPPER_PASSWD=/tmp/passwd NSS_WRAPPER_GROUP=/tmp/group
  initdb -D "$volume/new" -U k2 --pwfile=/run/secrets/postgres_password --auth=scram-sha-256 -E UTF8 --locale=C -k
  echo "host all all all scram-sha-256" >>"$volume/new/pg_hba.conf"
  echo "CREATE DATABASE k2" | postgres --single -D "$volume/new" postgres
  unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
  sync
  mv "$volume/new" "$volume/cluster"
fi
exec postgres -D "$volume/cluster" -c listen_addresses='*' -c unix_socket_directories=/tmp
