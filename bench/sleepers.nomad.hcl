# Tasks that do nothing, for bench.agent: what is measured is what surrounds them.
variable "driver" {}

variable "count" {
  default = 1
}

job "sleepers" {
  type = "service"

  group "group" {
    count = var.count
    ephemeral_disk {
      size = 10
    }
    update {
      max_parallel = 0
    }
    task "task" {
      driver       = var.driver
      kill_timeout = "5s"
      kill_signal  = "SIGTERM"
      logs {
        max_files     = 1
        max_file_size = 1
      }
      config {
        command = "/bin/sleep"
        args    = ["600"]
      }
      resources {
        cpu    = 10
        memory = 10
      }
    }
  }
}
