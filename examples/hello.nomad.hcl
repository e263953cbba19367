# The first thing to run, with an agent or without one:
#
#   trio-driver run examples/hello.nomad.hcl
#   nomad job run examples/hello.nomad.hcl

variable "greeting" {
  default = "hello"
}

job "hello" {
  type = "batch"

  group "hello" {
    task "hello" {
      driver = "trio"

      config {
        command = "/bin/sh"
        args = ["-c", <<EOF
echo "${var.greeting} from task $NOMAD_TASK_NAME, pid $$, parent $PPID"
for step in 3 2 1; do
  echo "$step ..."
  sleep 1
done
echo "bye"
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
