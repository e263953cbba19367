# Says which signals it got.
job "signalled" {
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
      kill_timeout = "1s"
      config {
        command = "/bin/sh"
        args = ["-c", <<-EOT
          trap 'echo got HUP' HUP
          trap 'echo got USR2' USR2
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
