# Prints its environment and where it is.
job "environment" {
  type = "batch"

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
      env {
        GREETING = "hello world"
      }
      meta {
        color = "blue"
      }
      config {
        command = "/bin/sh"
        args    = ["-c", "env; echo PWD=$(pwd -P); echo UID=$(id -u); echo end"]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
