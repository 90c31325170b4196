# Kafka in a container: listeners and folders are added to the settings that every engine shares; a new volume is
# formatted first. The network sees kafka:29092, this machine 127.0.0.1 at the published port.
set -eu
here=$(dirname "$0")
data=/var/lib/kafka/data/log
class_path="$here:/opt/kafka/libs/*"

cat "$here/server.properties" - >/tmp/server.properties <<END
controller.quorum.bootstrap.servers=127.0.0.1:29093
listeners=INTERNAL://0.0.0.0:29092,EXTERNAL://0.0.0.0:9092,CONTROLLER://127.0.0.1:29093
advertised.listeners=INTERNAL://kafka:29092,EXTERNAL://127.0.0.1:$K2_KAFKA_PORT
listener.security.protocol.map=INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=INTERNAL
log.dirs=$data
END

if [ ! -e "$data/meta.properties" ]; then
  cluster=$(tr -d - </proc/sys/kernel/random/uuid | cut -c1-22)
  java -Xmx256m -cp "$class_path" kafka.tools.StorageTool format --standalone -t "$cluster" -c /tmp/server.properties
fi
exec java "-Xmx$K2_KAFKA_HEAP" -XX:+UseG1GC -cp "$class_path" kafka.Kafka /tmp/server.properties
