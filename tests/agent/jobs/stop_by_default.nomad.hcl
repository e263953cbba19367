# Says which signal it was asked to end with; the job names none.
job "stop_by_default" {
  type = "service"

  group "group" {
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }
    task "task" {
      driver = "trio"
      kill_timeout = "20s"
      config {
        command = "/bin/sh"
        args = ["-c", <<-EOT
          trap 'echo stopped by INT; exit 0' INT
          trap 'echo stopped by TERM; exit 0' TERM
          echo $$
          while :; do sleep 0.1; done
        EOT
        ]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
