# Many tasks, each of which notices when another run of it is alive: then it writes its name to `$MARKS/twice`. Each
# start appends a line to `$MARKS/starts`.
variable "marks" {}

variable "count" {
  default = 1
}

job "never_twice" {
  type = "service"

  group "group" {
    count = var.count
    ephemeral_disk {
      size = 10
    }
    restart {
      attempts = 1000
      interval = "1h"
      delay    = "100ms"
      mode     = "delay"
    }
    reschedule {
      delay          = "10s"
      delay_function = "constant"
      unlimited      = true
    }
    task "task" {
      driver = "trio"
      kill_timeout = "1s"
      logs {
        max_files     = 1
        max_file_size = 1
      }
      env {
        MARKS = var.marks
      }
      config {
        command = "/bin/sh"
        args = ["-c", <<-EOT
          exec 9>"$MARKS/$NOMAD_ALLOC_ID"
          flock -n 9 || echo "$NOMAD_ALLOC_NAME $$" >>"$MARKS/twice"
          echo "$NOMAD_ALLOC_INDEX $$" >>"$MARKS/starts"
          exec sleep 600
        EOT
        ]
      }
      resources {
        cpu    = 20
        memory = 10
      }
    }
  }
}
