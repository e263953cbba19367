# A task that cleans up when it is asked to end. Press Ctrl-C once and it takes its time; press it
# again and it is killed, with the process that it started.
#
#   trio-driver run examples/signals.nomad.hcl

job "signals" {
  type = "batch"

  group "signals" {
    task "stubborn" {
      driver = "trio"

      kill_signal  = "SIGTERM"
      kill_timeout = "10s"

      config {
        command = "/bin/sh"
        args = ["-c", <<EOF
trap 'echo "got SIGTERM; tidying up for two seconds"; sleep 2; echo "tidy"; exit 0' TERM
setsid sleep 1000 &
echo "press Ctrl-C; a child of mine left its session, and will go with me"
while true; do
  sleep 0.2
done
EOF
        ]
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
